"""Serves all listeners until a signal comes and the requests on their way have ended."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import uvicorn

from .bounds import Bounds
from .listeners import Listener
from .protocol import Connection
from .resources import OF_CLIENTS, OF_OPERATORS, places
from .shutdown import Drainable, Patience, Shutdown

BACKLOG = 2048
"""Connections that the kernel holds until they are accepted."""
LAST_WORDS = 5
"""Seconds for requests that were cut to settle."""


async def serve_listeners(
    listeners: Sequence[Listener],
    drainable: Drainable,
    patience: Patience,
    *,
    ready: Callable[[], None],
    bounds: Bounds | None = None,
) -> None:
    """
    Serve until a signal comes and the requests on their way have ended.

    The first listener's application owns the lifespan. `ready` is called once it listens. Each
    connection keeps within `bounds`, but for the places, which are the process's.
    """
    servers = [
        _Server(
            _config(each, patience, bounds or Bounds(), is_main=number == 0),
            ready if number == 0 else _nothing,
        )
        for number, each in enumerate(listeners)
    ]
    main, *others = servers

    def abort() -> None:
        for server in servers:
            server.abort()

    shutdown = Shutdown(main.stop, abort, drainable, patience)
    async with asyncio.TaskGroup() as tasks:
        shutdown.listen_to_signals()
        beside = [
            tasks.create_task(server.serve([listener.socket]))
            for server, listener in zip(others, listeners[1:], strict=True)
        ]
        try:
            await main.serve([listeners[0].socket])
        finally:
            shutdown.close()
            for server in others:
                server.stop()
            await asyncio.gather(*beside)


class _Server(uvicorn.Server):
    """uvicorn, without its own handling of signals."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `serve_listeners`' own."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._tell_started()

    def stop(self) -> None:
        """Stop listening, and end when the requests on their way have."""
        self.should_exit = True

    def abort(self) -> None:
        """Wait for no client any longer."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


def _nothing() -> None:
    """Only the main listener is announced."""


def _config(
    listener: Listener, patience: Patience, bounds: Bounds, *, is_main: bool
) -> uvicorn.Config:
    bounds = replace(bounds, places=places(OF_CLIENTS if is_main else OF_OPERATORS))
    return uvicorn.Config(
        listener.app,
        http=partial(Connection, bounds),  # type: ignore[arg-type]  # it is called, as a class is
        interface="asgi3",
        ws="none",
        lifespan="on" if is_main else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=int(patience.delay + patience.drain + LAST_WORDS),
    )
