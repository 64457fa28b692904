"""
What is special about uvicorn: listeners, signals, and a shutdown that lets streams finish.

On the first SIGTERM or SIGINT the gateway says that it is not ready, takes requests for a moment
longer so that a load balancer can notice, then stops listening and waits. Requests that are still
on their way when the time to drain is over end with an error event; on a second signal at once.
uvicorn's version is pinned, because this relies on how it starts and stops.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .pipeline import ON_HANG_UP
from .settings import StartRefused

BACKLOG = 2048
"""Connections that the kernel holds until they are accepted."""
KEEP_ALIVE = 75
"""Seconds that an idle connection of a client is kept."""
LAST_WORDS = 5
"""Seconds for requests that were cut to settle and for their last bytes to go out."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drainable(Protocol):
    """What is told of a shutdown."""

    def drain(self) -> None:
        """From now on say that no new requests should come."""
        ...

    def cut(self) -> None:
        """End the requests that are still on their way."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a shutdown waits, in seconds."""

    delay: float
    drain: float


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the bound socket where it is served."""

    app: ASGIApp
    socket: socket.socket

    @property
    def url(self) -> str:
        """Its address."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class AddressInUse(StartRefused):
    """Something else listens there, or the address is not ours."""

    exit_code = 1


def bind(host: str, port: int) -> socket.socket:
    """
    Bind a listening socket; port 0 takes a free one.

    Raises:
        AddressInUse: it can't be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise AddressInUse(f"can't listen on {host}:{port}: {error.strerror}") from error
    return bound


class _Protocol(HttpToolsProtocol):
    """
    uvicorn's connection, with a bound on a request's head; it says at once that its client is gone.
    """

    _on_hang_up: Callable[[], None] | None = None
    _in_head = True
    _head_bytes = 0

    def _tell(self, callback: Callable[[], None] | None) -> None:
        self._on_hang_up = callback
        if callback is not None:
            # A large body may have paused the socket, and a paused one tells of no end.
            self.flow.resume_reading()

    def data_received(self, data: bytes) -> None:
        """More of a request; a head without an end is refused before it fills the memory."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins: it may ask to be told."""
        super().on_message_begin()
        self.scope["state"][ON_HANG_UP] = self._tell

    def on_headers_complete(self) -> None:
        """The head is whole, and the request begins to be answered."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are of another request."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or was closed."""
        super().connection_lost(exc)
        if (callback := self._on_hang_up) is not None:
            self._on_hang_up = None
            callback()


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


async def serve_listeners(
    listeners: Sequence[Listener],
    drainable: Drainable,
    patience: Patience,
    *,
    ready: Callable[[], None],
) -> None:
    """
    Serve until a signal comes and the requests on their way have ended.

    The first listener's application owns the lifespan. `ready` is called once it listens.
    """
    main, *others = [
        _Server(
            _config(each, patience, is_main=number == 0),
            ready if number == 0 else _nothing,
        )
        for number, each in enumerate(listeners)
    ]
    shutdown = _Shutdown(main, drainable, patience)
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
                server.should_exit = True
            await asyncio.gather(*beside)


class _Shutdown:
    """What each signal does, and the timers between."""

    def __init__(self, server: uvicorn.Server, drainable: Drainable, patience: Patience) -> None:
        self._server = server
        self._drainable = drainable
        self._patience = patience
        self._timers: list[asyncio.TimerHandle] = []
        self._signals = 0

    def listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        for timer in self._timers:
            timer.cancel()

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            self._stop_listening()
            self._drainable.cut()
            return
        self._drainable.drain()
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(self._patience.delay, self._stop_listening),
            loop.call_later(self._patience.delay + self._patience.drain, self._drainable.cut),
        ]

    def _stop_listening(self) -> None:
        self._server.should_exit = True


def _nothing() -> None:
    """Only the main listener is announced."""


def _config(listener: Listener, patience: Patience, *, is_main: bool) -> uvicorn.Config:
    return uvicorn.Config(
        listener.app,
        http=_Protocol,
        ws="none",
        lifespan="on" if is_main else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(patience.delay + patience.drain + LAST_WORDS),
    )
