"""
The listeners' applications.

Operations and administration are on the administration's own listener where there is one, else
beside the data plane.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ..access import Access
from ..config import Config
from ..inbound import (
    INFERENCE,
    CallerGate,
    Edge,
    GatewayStatus,
    Inference,
    OperatorGate,
    create_api,
    models_router,
    operations_router,
    probes_router,
)
from ..inbound.settings import CorsSettings
from ..pipeline import Pipeline
from ..settings import Settings

_EXPOSED = ("x-request-id", "x-client-request-id", "x-lockgate-model", "retry-after")
"""Response headers that a web page may read, where CORS allows it to call."""


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What the applications are made of."""

    settings: Settings
    config: Config
    pipeline: Pipeline
    access: Access
    status: GatewayStatus
    metrics: Callable[[str], tuple[bytes, str]]

    def admin(self) -> ASGIApp | None:
        """The application of the administration's own listener, None where it has none."""
        if self.settings.admin_address is None:
            return None
        api = create_api(
            [probes_router(self.status), *self._operators()], docs=self._docs, inference=()
        )
        return Edge({}, api)

    def data(self, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> ASGIApp:
        """The data plane's application; the lifespan of everything is its own."""
        pipeline = self.pipeline
        gate = CallerGate(self.access)
        routers = [
            models_router(lambda: pipeline.snapshot.routes, gate, created=_today()),
            probes_router(self.status),
        ]
        if self.settings.admin_address is None:
            routers += self._operators()
        endpoints = {
            route.path: Inference(route, pipeline, self.config.http) for route in INFERENCE
        }
        api = create_api(routers, docs=self._docs, lifespan=lifespan)
        return _with_cors(Edge(endpoints, api), self.config.http.cors)

    def _operators(self) -> list[APIRouter]:
        """What operators and administrators may call."""
        operator = OperatorGate(self.settings.admin_token, public=self.config.ops.public)
        return [operations_router(self.status, self.metrics, operator)]

    @property
    def _docs(self) -> bool:
        told = self.config.ops.docs
        return self.settings.environment == "development" if told is None else told


def _today() -> int:
    """Seconds since 1970: what every model says of its age, since nobody knows it."""
    return int(datetime.now(UTC).timestamp())


def _with_cors(app: ASGIApp, cors: CorsSettings) -> ASGIApp:
    if not cors.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),  # SDKs send many of their own; the key is none that a browser adds
        expose_headers=_EXPOSED,
        max_age=cors.max_age,
    )
