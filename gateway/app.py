"""
The application: opens everything in one lifespan, wires it together, mounts the routes.

Nothing happens at import. `create_app` reads the configuration and builds the parts; sockets,
threads and stores open when the server starts the lifespan and close in reverse when it stops.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING

import uvloop
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from . import __version__
from .access import Access, ConfiguredKeys, load_pepper
from .config import Config, load
from .contract.errors import Draining
from .health import Health
from .inbound import (
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
from .inbound.settings import CorsSettings
from .limits import Limiter, MemoryLimiter, Plans
from .pipeline import Pipeline, Snapshot, Tools
from .registry import Registry
from .routing import Routes
from .server import Listener, Patience, bind, serve_listeners
from .settings import Settings, StartRefused
from .telemetry.context import PassedOn, is_wanted
from .telemetry.log import LogPipe, RequestLog, configure_logging
from .telemetry.metrics import Metrics
from .telemetry.redaction import Redaction
from .telemetry.sink import LogSink
from .upstream import RelayTransport, Upstream

if TYPE_CHECKING:
    from .redis import Redis
    from .telemetry.spans import Tracing

PRODUCTION_DRAIN_DELAY = 5.0
"""Seconds; in development nobody waits for a load balancer."""

_EXPOSED = ("x-request-id", "x-client-request-id", "x-lockgate-model", "retry-after")
"""Response headers that a web page may read, where CORS allows it to call."""


class Gateway:
    """
    The running gateway: an ASGI application for the data plane.

    `admin` is the application of the administration's own listener, None where it shares this one.
    It runs through one lifespan; another start needs another gateway.
    """

    def __init__(self, settings: Settings, config: Config, registry: Registry) -> None:
        providers = {name: registry.build(name, each) for name, each in config.providers.items()}
        routes = Routes(config.models, providers)
        targets = {each.name for route in routes for each in route.candidates}
        pepper = _pepper(settings)
        self.config = config
        self._settings = settings
        self._redaction = Redaction(_secrets(settings, config, pepper))
        self._sink = LogSink()
        self._pipe = LogPipe(
            self._sink, self._redaction, style=settings.log_format, level=settings.log_level
        )
        self._health = Health(config.health, targets, clock=time.monotonic)
        self._redis = _redis(settings, config)
        self._limiter = MemoryLimiter() if self._redis is None else _shared(self._redis, config)
        self._transport = RelayTransport(config.upstream)
        self._metrics = Metrics(version=__version__, models=config.models, targets=targets)
        self._tracing = _tracing(self._redaction)
        access = Access(ConfiguredKeys(config.tenants, pepper), pepper)
        self.pipeline = Pipeline(
            Snapshot(routes=routes, access=access, plans=Plans(config.plans)), self._tools()
        )
        self._status = GatewayStatus(self._health.states, self._stores, time.monotonic)
        self.admin: ASGIApp | None = None
        self.data = self._surfaces(access)
        self._watch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The data plane's listener, and the lifespan of everything."""
        await self.data(scope, receive, send)

    def drain(self) -> None:
        """From now on say that no new requests should come."""
        self._status.drain()

    def cut(self) -> None:
        """End the requests that are still on their way, each with one error."""
        self.pipeline.cut(Draining("The gateway is shutting down."))

    def patience(self) -> Patience:
        """How long a shutdown waits."""
        http = self.config.http
        default = PRODUCTION_DRAIN_DELAY if self._settings.environment == "production" else 0.0
        return Patience(
            delay=default if http.drain_delay is None else http.drain_delay,
            drain=http.drain_timeout,
        )

    def _tools(self) -> Tools:
        observers = (RequestLog(self._pipe), self._metrics)
        return Tools(
            limiter=self._limiter,
            health=self._health,
            upstream=Upstream(self._transport, self.config.upstream),
            contexts=PassedOn() if self._tracing is None else self._tracing,
            observers=observers if self._tracing is None else (*observers, self._tracing),
            chance=Random(),  # noqa: S311 - nothing that it draws is a secret
            clock=time.monotonic,
        )

    def _stores(self) -> Mapping[str, bool]:
        return {} if self._redis is None else {"redis": self._limiter.reachable}

    def _surfaces(self, access: Access) -> ASGIApp:
        """The listeners' applications: operations are on the administration's if it has one."""
        ops = self.config.ops
        docs = self._settings.environment == "development" if ops.docs is None else ops.docs
        pipeline = self.pipeline
        data = [
            models_router(lambda: pipeline.snapshot.routes, CallerGate(access), created=_today()),
            probes_router(self._status),
        ]
        operator = OperatorGate(self._settings.admin_token, public=ops.public)
        operations = operations_router(self._status, self._metrics.render, operator)
        if self._settings.admin_address is None:
            data.append(operations)
        else:
            probes = probes_router(self._status)
            self.admin = Edge({}, create_api([probes, operations], docs=docs, inference=()))
        endpoints = {
            route.path: Inference(route, pipeline, self.config.http) for route in INFERENCE
        }
        return _with_cors(
            Edge(endpoints, create_api(data, docs=docs, lifespan=self._lifespan)),
            self.config.http.cors,
        )

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self._sink.open()
            stack.push_async_callback(asyncio.to_thread, self._sink.close)  # waits for its reader
            configure_logging(self._pipe)
            if self._tracing is not None:
                stack.push_async_callback(asyncio.to_thread, self._tracing.close)
            stack.push_async_callback(self._transport.aclose)
            if self._redis is not None:
                stack.push_async_callback(self._redis.aclose)
            await stack.enter_async_context(self._limiter)
            self._status.meet()  # whoever asks for the first time may ask during an outage
            yield

    def _watch(self) -> None:
        """Numbers that parts keep themselves, shown beside the request metrics."""
        health, transport, metrics = self._health, self._transport, self._metrics
        metrics.watch_health(lambda: {name: state.up for name, state in health.states().items()})
        metrics.watch(
            "lockgate_upstream_connections",
            "Connections to upstreams.",
            lambda: [(("open",), transport.open), (("idle",), transport.idle)],
            ("state",),
        )
        metrics.watch(
            "lockgate_limiter_events_total",
            "What the limiter has seen.",
            lambda: [
                ((name,), float(count)) for name, count in asdict(self._limiter.counts).items()
            ],
            ("event",),
        )
        metrics.watch(
            "lockgate_log_lines_dropped_total",
            "Log lines lost because nobody read them.",
            lambda: [((), float(self._sink.dropped))],
        )
        if (tracing := self._tracing) is not None:
            metrics.watch(
                "lockgate_spans_total",
                "Spans, by what became of them.",
                lambda: [((name,), float(count)) for name, count in tracing.counts().items()],
                ("result",),
            )


def _pepper(settings: Settings) -> bytes:
    try:
        return load_pepper(settings.key_pepper, settings.state_dir)
    except OSError as error:
        raise StartRefused(f"LOCKGATE_STATE_DIR can't be used: {error}") from None


def _redis(settings: Settings, config: Config) -> "Redis | None":
    """The client's library takes long to load, so only those wait for it who use it."""
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    try:
        opened: Redis = import_module("gateway.redis").open_redis(
            url, deadline=config.limits.deadline
        )
    except ValueError:
        raise StartRefused("LOCKGATE_REDIS_URL is not the address of a Redis server") from None
    return opened


def _shared(redis: "Redis", config: Config) -> Limiter:
    limiter: Limiter = import_module("gateway.limits.redis").RedisLimiter(redis, config.limits)
    return limiter


def _tracing(redaction: Redaction) -> "Tracing | None":
    """Spans are the SDK's to send, which is loaded only where they are wanted."""
    if not is_wanted(os.environ):
        return None
    spans: ModuleType = import_module("gateway.telemetry.spans")
    chance = Random()  # noqa: S311 - ids are unlikely to come twice, and no secret
    tracing: Tracing = spans.Tracing(version=__version__, redaction=redaction, chance=chance)
    return tracing


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


def _secrets(settings: Settings, config: Config, pepper: bytes) -> Iterator[str]:
    """Every secret that the gateway was given: none may show in a log."""
    yield pepper.decode("ascii", "replace")
    given = [settings.admin_token]
    if settings.redis_url is not None:
        given.append(settings.redis_url)
    given += [provider.api_key for provider in config.providers.values()]
    given += [k.key for tenant in config.tenants.values() for k in tenant.keys if k.key is not None]
    for secret in given:
        if value := secret.get_secret_value():
            yield value


def load_config(settings: Settings, registry: Registry) -> Config:
    """
    The configuration file of these settings.

    Raises:
        ConfigError: it can't be used.
    """
    return load(settings.config, os.environ, registry.find)


def create_app(settings: Settings, config: Config | None = None) -> Gateway:
    """
    The gateway of these settings, and of the configuration file that they name.

    Raises:
        ConfigError: the file can't be used.
    """
    registry = Registry.load()
    return Gateway(settings, config or load_config(settings, registry), registry)


def check(settings: Settings) -> None:
    """
    Load the configuration as `serve` would.

    Raises:
        ConfigError: it can't be used.
    """
    registry = Registry.load()
    config = load_config(settings, registry)
    for name, provider in config.providers.items():
        registry.build(name, provider)


def serve(settings: Settings) -> None:
    """
    Serve until a signal comes.

    Raises:
        StartRefused: the configuration can't be used, or an address can't be bound.
    """
    run(settings, create_app(settings))


def _announce(url: str) -> None:
    """On standard error: standard output has log lines and nothing else."""
    sys.stderr.write(f"lockgate: listening on {url}\n")
    sys.stderr.flush()


def _settle_collector() -> None:
    """
    What was made at start lives as long as the process, so the collector need not walk it again
    and again: without this it takes a tenth of a request's time. Requests leave no cycles; what
    little there is can gather for longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def run(settings: Settings, gateway: Gateway, ready: Callable[[str], None] = _announce) -> None:
    """Serve a gateway that is built already; `ready` is called with the address."""
    _settle_collector()
    with ExitStack() as sockets:
        listeners = [Listener(gateway, sockets.enter_context(bind(settings.host, settings.port)))]
        if settings.admin_address is not None and gateway.admin is not None:
            bound = sockets.enter_context(bind(*settings.admin_address))
            listeners.append(Listener(gateway.admin, bound))
        url = listeners[0].url
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                serve_listeners(listeners, gateway, gateway.patience(), ready=lambda: ready(url))
            )
