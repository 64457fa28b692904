"""
The application: opens everything in one lifespan, wires it together, mounts the routes.

Nothing happens at import. `create_app` reads the configuration and builds the parts; sockets,
threads and stores open when the server starts the lifespan and close in reverse when it stops.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from importlib import import_module
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING

import uvloop
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from . import __version__
from .access import Holders, Peppers
from .config import Config
from .contract.errors import AccessRevoked, Draining
from .health import Health, Probes
from .inbound.status import GatewayStatus
from .limits import Plans, PlanSettings
from .pipeline import Pipeline, Tools
from .registry import Registry
from .server import Bounds, Listener, Patience, bind
from .settings import Settings, StartRefused
from .supervisor.colleagues import Colleagues
from .telemetry.context import PassedOn, is_wanted
from .telemetry.log import LogPipe, RequestLog, configure_logging
from .telemetry.metrics import Metrics
from .telemetry.redaction import Redaction
from .telemetry.sink import LogSink
from .upstream import Upstream
from .wiring.administration import administration_of, reloaded
from .wiring.eviction import refuse_eviction
from .wiring.gauges import watch, watch_queues
from .wiring.overview import Alone
from .wiring.probes import asking
from .wiring.reload import Reload
from .wiring.running import listeners_of, serve_alone, serve_until_told, settle
from .wiring.secrets import peppers_of, secrets_of
from .wiring.snapshots import Ready, Snapshots
from .wiring.source import Loaded, Loader, Source
from .wiring.stores import Stores
from .wiring.surfaces import Surfaces
from .wiring.targets import targets_of
from .wiring.transports import engine_of

if TYPE_CHECKING:
    from .telemetry.spans import Tracing

PRODUCTION_DRAIN_DELAY = 5.0
"""Seconds; in development nobody waits for a load balancer."""


class Gateway:
    """
    The running gateway: an ASGI application for the data plane.

    `admin` is the application of the administration's own listener, None where it shares this one.
    It runs through one lifespan; another start needs another gateway.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        loader: Loader,
        loaded: Loaded,
        colleagues: Colleagues | None = None,
    ) -> None:
        config, source = loaded
        peppers = peppers_of(settings)
        self._peppers = peppers
        self._settings = settings
        self._redaction = Redaction(secrets_of(settings, config, peppers))
        self._sink = LogSink(shared=colleagues is not None)
        self._pipe = LogPipe(
            self._sink, self._redaction, style=settings.log_format, level=settings.log_level
        )
        self._stores = Stores(settings, config, peppers, self._use_plans)
        self._snapshots = Snapshots(
            registry.build, self._stores.keys, Peppers(*peppers), peppers[0]
        )
        self._ready = ready = self._snapshots.make(config)
        chance = Random()  # noqa: S311 - nothing that it draws is a secret
        self._health = Health(
            config.health, targets_of(ready.snapshot.routes), clock=time.monotonic, chance=chance
        )
        self._transport = engine_of(config.upstream)
        self._probes = Probes(self._health, asking(self._transport), chance=chance)
        self._probes.configure(ready.providers)
        self._metrics = Metrics(version=__version__, models=config.models, targets=ready.targets)
        self._tracing = _tracing(self._redaction)
        self.pipeline = Pipeline(ready.snapshot, self._tools())
        self.pipeline.queues.configure(ready.providers)
        self._stores.keys.on_revoked(self._revoke)
        self.reload = Reload(loader, self, config, source)
        self._status = GatewayStatus(
            self._health.states,
            self._stores.reachable,
            time.monotonic,
            warnings=self._stores.warnings,
        )
        self.alone = Alone(self._status, self._metrics)
        surfaces = Surfaces(
            settings=settings,
            config=config,
            pipeline=self.pipeline,
            overview=self.alone if colleagues is None else colleagues,
            stores=self._stores,
            administration=administration_of(
                settings,
                lambda: self.config,
                self._stores,
                Peppers(*peppers),
                (lambda: reloaded(self.reload)) if colleagues is None else colleagues.reload,
            ),
        )
        self.admin = surfaces.admin()
        self.data = surfaces.data(self._lifespan)
        watch(
            self._metrics,
            health=self._health,
            transport=self._transport,
            stores=self._stores,
            sink=self._sink,
            tracing=self._tracing,
        )
        watch_queues(self._metrics, self.pipeline.queues)
        self.reload.watch(self._metrics)

    @property
    def config(self) -> Config:
        """The configuration of the moment."""
        return self._ready.config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The data plane's listener, and the lifespan of everything."""
        await self.data(scope, receive, send)

    def drain(self) -> None:
        """From now on say that no new requests should come."""
        self._status.drain()

    def cut(self) -> None:
        """End the requests that are still on their way, each with one error."""
        self.pipeline.cut(Draining("The gateway is shutting down."))

    def prepare(self) -> None:
        """
        Look at the stores before anything is served, so that a refusal is one line.

        Raises:
            SchemaRefused: the database's schema is not this version's.
            StartRefused: this is production, and its Redis forgets limits when it is full.
        """
        asyncio.run(self._stores.prepare())
        asyncio.run(refuse_eviction(self._settings))

    def patience(self) -> Patience:
        """How long a shutdown waits."""
        http = self.config.http
        default = PRODUCTION_DRAIN_DELAY if self._settings.environment == "production" else 0.0
        return Patience(
            delay=default if http.drain_delay is None else http.drain_delay,
            drain=http.drain_timeout,
        )

    def bounds(self) -> Bounds:
        """How long a client is waited for."""
        http = self.config.http
        return Bounds(
            head_timeout=http.head_timeout,
            linger=http.body_timeout,
            write_timeout=http.write_timeout,
            min_rate=http.min_body_rate,
        )

    def make_ready(self, config: Config) -> Ready:
        """Make a configuration ready; nothing changes, but that its secrets show nowhere."""
        self._redaction.learn(secrets_of(self._settings, config, self._peppers))
        return self._snapshots.make(config, self._ready)

    def take_over(self, ready: Ready) -> None:
        """
        Use a configuration from now on. Requests on their way keep what they began with, but for
        those by keys that have ended with it.
        """
        before, self._ready = self._ready, ready
        config, snapshot = ready.config, ready.snapshot
        self._metrics.configure(models=config.models, targets=ready.targets)
        plans = Plans(self._stores.plans.configure(config.plans), config.limits)
        self.pipeline.snapshot = replace(snapshot, plans=plans)
        self._health.configure(targets_of(snapshot.routes), config.health)
        self._probes.configure(ready.providers)
        self.pipeline.queues.configure(ready.providers)
        self.pipeline.quarantine.settings = config.quarantine
        if ended := before.keys.ended_in(ready.keys):
            self._revoke(Holders(keys=ended))

    def _use_plans(self, plans: Mapping[str, PlanSettings]) -> None:
        """From now on requests are held to these; those under way keep what they began with."""
        made = Plans(plans, self.config.limits)
        self.pipeline.snapshot = replace(self.pipeline.snapshot, plans=made)

    def _revoke(self, holders: Holders) -> None:
        """End the requests of those whose keys have stopped working."""
        if self.config.access.on_revoke == "cut":
            self.pipeline.cut_where(
                lambda record: holders.include(record.tenant, record.project or None, record.key),
                AccessRevoked(),
            )

    def _tools(self) -> Tools:
        observers = (RequestLog(self._pipe), self._metrics)
        return Tools(
            limiter=self._stores.limiter,
            health=self._health,
            quarantine=self._stores.quarantine,
            upstream=Upstream(self._transport, self.config.upstream),
            contexts=PassedOn() if self._tracing is None else self._tracing,
            observers=observers if self._tracing is None else (*observers, self._tracing),
            chance=Random(),  # noqa: S311 - nothing that it draws is a secret
            clock=time.monotonic,
            ledger_is_full=self._stores.ledger_is_full,
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
            await stack.enter_async_context(self._stores.opened())
            await stack.enter_async_context(self._probes)
            await stack.enter_async_context(self.reload)
            self._status.meet()  # whoever asks for the first time may ask during an outage
            yield


def _tracing(redaction: Redaction) -> "Tracing | None":
    """Spans are the SDK's to send, which is loaded only where they are wanted."""
    if not is_wanted(os.environ):
        return None
    spans: ModuleType = import_module("gateway.telemetry.spans")
    chance = Random()  # noqa: S311 - ids are unlikely to come twice, and no secret
    tracing: Tracing = spans.Tracing(version=__version__, redaction=redaction, chance=chance)
    return tracing


def loader_of(settings: Settings, registry: Registry) -> Loader:
    """How the configuration file of these settings is read."""
    return Loader(settings.config, os.environ, registry.find)


def create_app(settings: Settings, config: Config | None = None) -> Gateway:
    """
    The gateway of these settings, and of the configuration file that they name or of one that was
    read already.

    Raises:
        ConfigError: the file can't be used.
    """
    registry = Registry.load()
    loader = loader_of(settings, registry)
    loaded = loader.load() if config is None else (config, Source({}))
    return Gateway(settings, registry, loader, loaded)


def check(settings: Settings) -> None:
    """
    Load the configuration as `serve` would.

    Raises:
        ConfigError: it can't be used.
    """
    registry = Registry.load()
    config, _ = loader_of(settings, registry).load()
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


def _warn(settings: Settings) -> None:
    """Of what production may have, and may not have meant."""
    if settings.environment == "production" and settings.store_url.startswith("sqlite"):
        sys.stderr.write(
            "lockgate: the database is a SQLite file, which no other process can share; "
            "LOCKGATE_DATABASE_URL names a PostgreSQL\n"
        )


def run(settings: Settings, gateway: Gateway, ready: Callable[[str], None] = _announce) -> None:
    """Serve a gateway that is built already; `ready` is called with the address."""
    gateway.prepare()
    _warn(settings)
    settle()
    with ExitStack() as stack:
        sockets = [stack.enter_context(bind(settings.host, settings.port))]
        if settings.admin_address is not None:
            sockets.append(stack.enter_context(bind(*settings.admin_address)))
        listeners = listeners_of(gateway, sockets)
        url = listeners[0].url
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_alone(gateway, listeners, lambda: ready(url)))


def work(settings: Settings, control: int, data: int, admin: int | None) -> None:
    """
    Serve as one of several workers, until told otherwise or nobody is there to do so: on sockets
    that the supervisor has bound.

    Raises:
        StartRefused: the configuration can't be used.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's to hear
    colleagues = Colleagues(socket.socket(fileno=control))
    sockets = [socket.socket(fileno=each) for each in (data, admin) if each is not None]
    try:
        source = colleagues.source()
    except EOFError:
        return
    registry = Registry.load()
    loader = loader_of(settings, registry)
    loaded = loader.load() if source is None else (loader.load_from(source), source)
    gateway = Gateway(settings, registry, loader, loaded, colleagues)
    if settings.workers > gateway.config.limits.max_replicas:
        raise StartRefused(
            "limits.max_replicas is smaller than LOCKGATE_WORKERS: without Redis, workers would "
            "let through more than a limit says"
        )
    gateway.prepare()
    settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_worked(gateway, listeners_of(gateway, sockets), colleagues))


async def _worked(gateway: Gateway, listeners: Sequence[Listener], colleagues: Colleagues) -> None:
    async with colleagues.present(gateway.alone, gateway.reload):
        await serve_until_told(gateway, listeners, colleagues.begin)
