"""
The listeners' applications.

Operations and administration are on the administration's own listener where there is one, else
beside the data plane.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ..access import Caller
from ..access import Scope as KeyScope
from ..admin.deps import Parts
from ..admin.routers import admin_routers
from ..config import Config
from ..contract.head import Head
from ..inbound.addresses import ClientAddresses
from ..inbound.api import create_api
from ..inbound.edge import Edge
from ..inbound.gates import CallerGate, OperatorGate
from ..inbound.models import models_router
from ..inbound.openai import Inference
from ..inbound.ops import Overview, operations_router, probes_router
from ..inbound.own import own_router
from ..inbound.routes import INFERENCE
from ..inbound.settings import CorsSettings
from ..limits import Limit, Standing
from ..pipeline import Pipeline
from ..settings import Settings
from .stores import Stores

_EXPOSED = ("x-request-id", "x-client-request-id", "x-lockgate-model", "retry-after")
"""Response headers that a web page may read, where CORS allows it to call."""


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What the applications are made of."""

    settings: Settings
    config: Config
    pipeline: Pipeline
    overview: Overview
    stores: Stores
    administration: Parts

    def admin(self) -> ASGIApp | None:
        """The application of the administration's own listener, None where it has none."""
        if self.settings.admin_address is None:
            return None
        api = create_api(
            [probes_router(self.overview), *self._operators()], docs=self._docs, inference=()
        )
        return Edge({}, api, self.config.http)

    def data(self, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> ASGIApp:
        """The data plane's application; the lifespan of everything is its own."""
        pipeline = self.pipeline
        addresses = ClientAddresses(self.config.http.trusted_proxies)
        keys = _KeysNow(pipeline)
        callers = CallerGate(keys, addresses=addresses)
        readers = CallerGate(keys, "usage:read", addresses=addresses)
        routers = [
            models_router(lambda: pipeline.snapshot.routes, callers, created=_today()),
            own_router(readers, self._standings, self.stores.usage),
            probes_router(self.overview),
        ]
        if self.settings.admin_address is None:
            routers += self._operators()
        endpoints = {
            route.path: Inference(route, pipeline, self.config.http, self.stores.idempotency)
            for route in INFERENCE
        }
        api = create_api(routers, docs=self._docs, lifespan=lifespan)
        return _with_cors(Edge(endpoints, api, self.config.http), self.config.http.cors)

    def _operators(self) -> list[APIRouter]:
        """What operators and administrators may call."""
        tokens = (self.settings.admin_token, self.settings.metrics_token)
        operator = OperatorGate(*tokens, public=self.config.ops.public)
        return [
            operations_router(self.overview, operator),
            *admin_routers(self.administration),
        ]

    async def _standings(self, caller: Caller) -> Sequence[tuple[str | None, Standing]]:
        """How all limits of a caller stand, those of single models with their names."""
        snapshot = self.pipeline.snapshot
        models: dict[Limit, str | None] = {}
        for route in snapshot.routes:
            if caller.may_use(route.model):
                for limit in snapshot.plans.limits_of(caller.levels, route.model):
                    models[limit] = route.model if "/" in limit.scope else None
        limits = snapshot.plans.shared(models)
        standings = await self.pipeline.limiter.standings(caller.tenant, limits)
        return [(models[each.limit], each) for each in standings]

    @property
    def _docs(self) -> bool:
        told = self.config.ops.docs
        return self.settings.environment == "development" if told is None else told


class _KeysNow:
    """Tells callers by the configuration of the moment."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def caller(self, head: Head, client: str | None, scope: KeyScope) -> Caller:
        """As `Access.caller`."""
        return await self._pipeline.snapshot.access.caller(head, client, scope)


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
