"""
The client's connection as the simulator needs it: to learn of a hang-up at once, and to cut it.

The one module that reaches below ASGI. Whoever waits here is woken the moment the client leaves;
no task watches a connection.
"""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_FLUSH_PAUSE = 0.001
_LINGER_NONE = struct.pack("ii", 1, 0)


class HungUp(Exception):
    """The connection is gone: there is nobody to answer."""


class Link:
    """One connection; it serves one request at a time, so at most one task waits on it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self.gone = False

    async def until(self, waiter: "asyncio.Future[None]") -> None:
        """
        Wait for a future of this loop.

        Raises:
            HungUp: the connection ended first; the future is then done as well.
        """
        if self.gone:
            raise HungUp
        self._waiter = waiter
        try:
            await waiter
        finally:
            self._waiter = None
        if self.gone:
            raise HungUp

    async def pause(self, seconds: float | None) -> None:
        """
        Let `seconds` pass; None is until the connection ends.

        Raises:
            HungUp: the connection ended first.
        """
        waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, _wake, waiter)
        try:
            await self.until(waiter)
        finally:
            if timer is not None:
                timer.cancel()

    async def close(self) -> None:
        """Send what is written, then FIN. Raises `HungUp` when it is done."""
        self._transport.close()
        await self.pause(None)

    async def reset(self) -> None:
        """Send what is written, then RST. Raises `HungUp` when it is done."""
        while self._transport.get_write_buffer_size():
            await self.pause(_FLUSH_PAUSE)
        plug: socket.socket = self._transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self._transport.abort()
        await self.pause(None)

    def lost(self) -> None:
        """The connection ended; whoever waits learns of it now."""
        self.gone = True
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class LinkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also hands its `Link` to the application as `state["link"]`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._link: Link | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._link = Link(transport, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._link is not None:
            self._link.lost()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["link"] = self._link
