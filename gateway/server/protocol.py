"""
One connection of a client: uvicorn's, with what it is lenient about.

A request's head has a bound, and whoever answers a request hears at once that its client is gone.
"""

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..pipeline import ON_HANG_UP

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Connection(HttpToolsProtocol):
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
