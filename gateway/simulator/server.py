"""
Runs a simulated server: sockets, signals, and an end that waits for nobody.

uvicorn's protocol does the HTTP; its server is left out, because a simulator stops at once and
may share a loop with the test that asks it.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import uvicorn
import uvloop
from uvicorn.server import ServerState

from .app import Simulator
from .link import LinkedProtocol
from .settings import SimulatorSettings

_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Listening:
    """A simulator that takes connections at `url`."""

    url: str
    simulator: Simulator


def run(settings: SimulatorSettings) -> None:
    """Serve on a uvloop until SIGTERM or SIGINT. Raises `OSError` if the address is taken."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


async def serve(settings: SimulatorSettings) -> None:
    """Serve until SIGTERM or SIGINT; one line on standard output says when and where."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if settings.stop_with_stdin:
        loop.add_reader(0, _stop_at_end, stopped)
    try:
        async with listening(settings) as server:
            sys.stdout.write(f"simulator listening on {server.url}\n")
            sys.stdout.flush()
            await stopped.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if settings.stop_with_stdin:
            loop.remove_reader(0)


def _stop_at_end(stopped: asyncio.Event) -> None:
    if not os.read(0, 1024):
        stopped.set()


@asynccontextmanager
async def listening(settings: SimulatorSettings) -> AsyncIterator[Listening]:
    """Serve in this loop while the block runs; leaving it cuts every connection."""
    loop = asyncio.get_running_loop()
    sockets = ServerState()
    sockets.default_headers = [(b"server", b"uvicorn")]
    simulator = Simulator(
        settings,
        clock=time.monotonic,
        today=lambda: datetime.now(UTC).timestamp(),
        new_id=lambda: uuid4().hex,
        connections=lambda: len(sockets.connections),
    )
    server = await loop.create_server(
        _protocols(simulator, settings, sockets, loop),
        settings.host,
        settings.port,
        backlog=_BACKLOG,
    )
    try:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        port = server.sockets[0].getsockname()[1]
        yield Listening(f"http://{host}:{port}", simulator)
    finally:
        server.close()
        await _cut(sockets)
        await server.wait_closed()


def _protocols(
    simulator: Simulator,
    settings: SimulatorSettings,
    sockets: ServerState,
    loop: asyncio.AbstractEventLoop,
) -> Callable[[], LinkedProtocol]:
    config = uvicorn.Config(
        simulator,
        http=LinkedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive,
    )
    config.load()
    return lambda: LinkedProtocol(config, sockets, {}, loop)


async def _cut(sockets: ServerState) -> None:
    while sockets.connections or sockets.tasks:
        for protocol in list(sockets.connections):
            protocol.transport.abort()
        await asyncio.sleep(0)  # each learns of its end and stops by itself
