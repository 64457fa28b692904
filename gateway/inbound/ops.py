"""
How the gateway is doing: health in three tiers, and metrics.

Live never touches a dependency. Ready says whether new requests should come here. The detail
names components and is the operator's to see, as are the metrics.
"""

from typing import Literal, Protocol

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..gates import Anyone, Gate

PREFIXES = ("/health", "/api/v1/health")

_ANYONE = Anyone()


class Live(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"alive": True}]})

    alive: Literal[True] = True


class Ready(BaseModel):
    """Whether new requests should be sent here."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ready": True, "message": "taking requests"}]}
    )

    ready: bool
    message: str


class Component(BaseModel):
    """One thing that the gateway depends on."""

    status: Literal["up", "down", "degraded"]
    detail: str = ""


class Health(BaseModel):
    """All that the gateway knows of how it is doing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "version": "0.1.0",
                    "uptime": 93.2,
                    "components": {"target vllm-a/demo-model": {"status": "up", "detail": ""}},
                }
            ]
        }
    )

    status: Literal["ok", "degraded", "draining"]
    version: str
    uptime: float = Field(description="Seconds since the start.")
    components: dict[str, Component]


class Overview(Protocol):
    """Where these routes learn what they tell, which may be in other processes."""

    async def ready(self) -> Ready:
        """Whether new requests should come here."""
        ...

    async def health(self) -> Health:
        """Everything, component by component."""
        ...

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type, by an Accept header."""
        ...


def probes_router(overview: Overview) -> APIRouter:
    """Live and ready, which both listeners answer and anyone may ask."""
    router = APIRouter(tags=["health"])
    for prefix in PREFIXES:

        @router.get(
            f"{prefix}/live", summary="Is the process alive?", dependencies=[Depends(_ANYONE)]
        )
        async def live() -> Live:
            return Live()

        @router.get(
            f"{prefix}/ready",
            summary="Should new requests come here?",
            dependencies=[Depends(_ANYONE)],
            responses={503: {"model": Ready}},
        )
        async def ready(response: Response) -> Ready:
            told = await overview.ready()
            if not told.ready:
                response.status_code = 503
            return told

    return router


def operations_router(overview: Overview, gate: Gate) -> APIRouter:
    """The detail and the metrics, for the operator."""
    router = APIRouter(tags=["operations"])
    for prefix in PREFIXES:

        @router.get(f"{prefix}/", summary="Health of every component", dependencies=[Depends(gate)])
        async def health() -> Health:
            return await overview.health()

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        dependencies=[Depends(gate)],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics(request: Request) -> Response:
        content, content_type = await overview.metrics(request.headers.get("accept", ""))
        return Response(content, media_type=content_type)

    return router
