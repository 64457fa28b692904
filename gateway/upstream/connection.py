"""
One HTTP/1.1 connection to an upstream: a request out, a response in, and again if it is clean.

It trusts nothing that arrives. Headers, informational responses and framing between two pieces
of body are bounded, and what breaks the protocol ends the connection with
`httpx.RemoteProtocolError`. A connection that ends before its response does is
`httpx.ReadError`, never a silent end. `is_clean` is true only where request and response were
both whole and nothing else came; its owner closes a connection that is not clean.

At most `HIGH_WATER` + `READ_SIZE` bytes of body wait here for a slow reader, who takes all of
them at once: the socket is not read beyond that.

Hot: one `buffer_updated` a read of the socket, one `on_body` a chunk of the wire, one future a
wait; whoever wants the rest of a body is not woken for a part of it. All connections of a pool read
into one buffer, which is parsed before the next read.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
from httptools import HttpParserError, HttpResponseParser

READ_SIZE = 64 * 1024
"""Bytes taken from the socket at once: the size of the shared buffer."""
WRITE_SIZE = 256 * 1024
"""Bytes of a request handed to the socket at once, so that an early answer is noticed."""
HIGH_WATER = 64 * 1024
"""Bytes of body waiting for the reader beyond which the socket is left alone."""
MAX_HEAD = 64 * 1024
"""Bytes of headers, and of anything else on the wire that yields no body."""
MAX_HEADERS = 256
MAX_INFORMATIONAL = 8
KEEPALIVE_IDLE = 15
"""Seconds after which the kernel asks a silent peer whether it is still there."""

PATIENCE = 30
"""Seconds after which the kernel gives up a peer that acknowledges nothing of what it was sent."""

_PIECE_COST = 48  # bytes that a piece of body costs beside its content
_BODILESS = (204, 304)


class Connection(asyncio.BufferedProtocol):
    """
    A socket with at most one exchange on it.

    `buffer` is where the socket is read into, shared with other connections of the same loop.
    `lost` is called once when the connection is gone, whoever ended it. `made_at`, `idle_since`
    and `taken_at` belong to the pool.
    """

    def __init__(self, *, buffer: bytearray, lost: Callable[["Connection"], None]) -> None:
        self.made_at = 0.0
        self.idle_since = 0.0
        self.taken_at = 0.0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.answered = False
        """Whether a byte of the present response has come."""
        self.exchanges = 0
        """How many requests it was given."""
        self._view = memoryview(buffer)
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._parser: Any = HttpResponseParser(self)
        self._transport: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable = True
        self._open = False
        self._expect(bodiless=False)
        self._complete = True  # nothing is expected before a request was sent

    def _expect(self, *, bodiless: bool) -> None:
        self.status = 0
        self.headers = []
        self.answered = False
        self._bodiless = bodiless
        self._sent = False
        self._head_complete = False
        self._until_close = False
        self._complete = False
        self._keep_alive = False
        self._error: httpx.TransportError | None = None
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._reading = True
        self._is_patient = False
        self._barren_bytes = 0  # since the last piece of body
        self._head_bytes = 0
        self._informational = 0

    # For the owner

    @property
    def is_open(self) -> bool:
        """Whether the socket can still be written to, as far as is known."""
        # The transport knows of an end a turn before `connection_lost`; uvloop's raises then.
        return self._open and not self._transport.is_closing()

    @property
    def is_clean(self) -> bool:
        """Whether another request may be sent: the last one and its answer are wholly over."""
        return (
            self.is_open
            and self._complete
            and self._sent
            and self._keep_alive
            and not self._pieces
            and self._transport.get_write_buffer_size() == 0
        )

    async def exchange(self, head: bytes, body: bytes, *, bodiless: bool = False) -> None:
        """
        Send one request and wait for the head of its response: `status` and `headers`.

        `bodiless` says that no body follows, whatever the headers promise (HEAD). Returns
        as soon as the head is there, even if the upstream did not wait for all of `body`.

        Raises:
            httpx.ReadError: the connection ended first; `answered` tells whether a byte came.
            httpx.RemoteProtocolError: what came is not HTTP/1.1 or passes a bound.
        """
        self.exchanges += 1
        if self._error is None:
            self._expect(bodiless=bodiless)
            if not self.is_open:
                self._over(None)
            elif len(body) <= WRITE_SIZE:
                self._transport.write(head + body)
                self._sent = True
            else:
                await self._write(head, body)
        while not self._head_complete:
            if self._error is not None:
                raise self._error
            await self.news()

    def take(self) -> bytes | None:
        """
        All of the body that has come, None if nothing has, empty at its end.

        Raises:
            httpx.ReadError: the connection ended before the body did.
            httpx.RemoteProtocolError: the framing of the body is broken.
        """
        pieces = self._pieces
        if not pieces:
            if self._error is not None:
                raise self._error
            return b"" if self._complete else None
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._waiting_bytes = 0
        if not self._reading:
            self._reading = True
            if self.is_open:
                self._transport.resume_reading()
        return data

    def news(self) -> asyncio.Future[None]:
        """For the next thing that happens here. One may wait at a time."""
        self._is_patient = False
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def rest(self) -> asyncio.Future[None]:
        """For the end of the body, or as much of it as may wait here."""
        waiter = self.news()
        self._is_patient = True
        return waiter

    def close(self) -> None:
        """End the connection at once; what was not yet sent is dropped."""
        if self._open:
            self._open = False
            self._transport.abort()

    async def _write(self, head: bytes, body: bytes) -> None:
        self._transport.write(head)
        view = memoryview(body)
        for start in range(0, len(view), WRITE_SIZE):
            while not self._writable and not self._head_complete and self._error is None:
                await self.news()
            if self._head_complete or self._error is not None or not self.is_open:
                return
            self._transport.write(view[start : start + WRITE_SIZE])
        self._sent = True

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():  # whoever waited may have been cancelled
                waiter.set_result(None)

    # For the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._open = True
        _tune(transport.get_extra_info("socket"))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view  # no bytearray: asyncio's TLS slices it, and would fill a copy

    def buffer_updated(self, nbytes: int) -> None:
        if self._complete:
            # Bytes that nobody asked for: on a fresh connection it does not speak HTTP, on an
            # idle one it says goodbye; either way no request may follow.
            self._fail(httpx.RemoteProtocolError("the upstream spoke before it was asked"))
            return
        self.answered = True
        self._barren_bytes += nbytes
        try:
            self._parser.feed_data(self._view[:nbytes])
        except HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(str(error.__context__ or error)))
            return
        if self._barren_bytes > MAX_HEAD and not self._complete:
            self._fail(httpx.RemoteProtocolError(f"more than {MAX_HEAD} bytes without a body"))
            return
        if self._waiting_bytes > HIGH_WATER and self._reading and not self._complete:
            self._reading = False
            self._transport.pause_reading()
        if not self._is_patient or self._complete or not self._reading:
            self._wake()

    def eof_received(self) -> None:
        # Whatever is still unsent helps nobody: an orderly close would wait for it.
        self._over(None)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self._over(exc)
        self._parser = None  # it holds this object, and memory that is not Python's
        self._lost(self)

    def _over(self, exc: Exception | None) -> None:
        if not self._complete and self._error is None:
            if self._until_close and exc is None:
                self._complete = True
            else:
                self._error = httpx.ReadError(
                    "the connection ended within the response"
                    if self.answered
                    else "the connection ended before a response"
                )
                self._error.__cause__ = exc
        self._wake()

    def _fail(self, error: httpx.TransportError) -> None:
        if not (self._complete and self._head_complete) and self._error is None:
            self._error = error
        self.close()
        self._wake()

    # For the parser

    def on_message_begin(self) -> None:
        if self._complete:
            raise httpx.RemoteProtocolError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD or len(self.headers) >= MAX_HEADERS:
            raise httpx.RemoteProtocolError(
                f"more than {MAX_HEADERS} headers, or {MAX_HEAD} bytes of them"
            )
        if not self._head_complete:  # trailers are of no use
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._skip(status)
            return
        if status > 599 or self._parser.get_http_version() not in ("1.1", "1.0"):
            raise httpx.RemoteProtocolError("not a response of HTTP/1.1")
        self.status = status
        self._until_close = not self._is_framed()
        self._head_complete = True
        if self._bodiless:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        self._barren_bytes = 0
        self._waiting_bytes += len(body) + _PIECE_COST
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._head_complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def _skip(self, status: int) -> None:
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL or not 100 <= status < 200 or status == 101:
            raise httpx.RemoteProtocolError(f"{self._informational} informational responses")
        self.headers = []

    def _is_framed(self) -> bool:
        framed = self.status in _BODILESS
        chunked = False
        for name, value in self.headers:
            if name == b"content-length":
                framed = True
            elif name == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    raise httpx.RemoteProtocolError("a transfer-encoding other than chunked")
                chunked = True
        return framed or chunked


def _tune(peer: socket.socket) -> None:
    """A peer that vanished (NAT, power) is noticed; a small write leaves at once."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # not on every system
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # keepalive says nothing while a request is on its way
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE * 1000)
