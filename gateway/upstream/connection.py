"""
One HTTP/1.1 connection to an upstream: a request out, a response in, and again if it is clean.

It trusts nothing that arrives. Headers, informational responses and framing between two pieces
of body are bounded, and what breaks the protocol ends the connection with
`httpx.RemoteProtocolError`. A connection that ends before its response does is
`httpx.ReadError`, never a silent end. `is_clean` is true only where request and response were
both whole and nothing else came; its owner closes a connection that is not clean.

At most `HIGH_WATER` + `READ_SIZE` bytes of body wait here for a slow reader, who takes all of
them at once: the socket is not read beyond that.

Hot: one `buffer_updated` a read of the socket, one future a wait; whoever wants the rest of a body
is not woken for a part of it. The parser puts pieces of body into a list by itself. All connections
of a pool read into one buffer, which is parsed before the next read.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
from httptools import HttpParserError, HttpResponseParser

from .arrival import Arrival
from .exchange import Header, Headers

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
_VERSIONS = ("1.1", "1.0")


class Connection(asyncio.BufferedProtocol):
    """
    A socket with at most one exchange on it; `answer` is the response of the last.

    `buffer` is where the socket is read into, shared with other connections of the same loop.
    `lost` is called once when the connection is gone, whoever ended it. `made_at`, `idle_since`
    and `taken_at` belong to the pool, and so does `free`, which is called when an answer is over.
    """

    def __init__(self, *, buffer: bytearray, lost: Callable[["Connection"], None]) -> None:
        self.made_at = 0.0
        self.idle_since = 0.0
        self.taken_at = 0.0
        self.free: Callable[[Connection], None] = _keep
        self.exchanges = 0
        """How many requests it was given."""
        self.new_future = asyncio.get_running_loop().create_future
        self._view = memoryview(buffer)
        self._lost = lost
        self._pieces: list[bytes] = []
        self._fields: list[Header] = []
        self.on_body = self._pieces.append  # for the parser, as below
        self._parser: Any = HttpResponseParser(self)
        self._transport: Any = None
        self._writable = True
        self._open = False
        self.answer = Arrival(self, self._pieces)
        self.answer.complete = True  # nothing is expected before a request was sent

    # For the owner

    @property
    def is_open(self) -> bool:
        """Whether the socket can still be written to, as far as is known."""
        # The transport knows of an end a turn before `connection_lost`; uvloop's raises then.
        return self._open and not self._transport.is_closing()

    @property
    def answered(self) -> bool:
        """Whether a byte of the last response has come."""
        return self.answer.answered

    @property
    def is_clean(self) -> bool:
        """Whether another request may be sent: the last one and its answer are wholly over."""
        answer = self.answer
        return (
            answer.keeps_alive
            and not answer.unsent
            and not self._pieces
            and self._open
            and not self._transport.is_closing()
            and self._transport.get_write_buffer_size() == 0
        )

    async def exchange(self, head: bytes, body: bytes, *, bodiless: bool = False) -> Arrival:
        """
        Send one request and wait for the head of its response.

        `bodiless` says that no body follows, whatever the headers promise (HEAD). Returns
        as soon as the head is there, even if the upstream did not wait for all of `body`.

        Raises:
            httpx.ReadError: the connection ended first; `answered` tells whether a byte came.
            httpx.RemoteProtocolError: what came is not HTTP/1.1 or passes a bound.
        """
        self.exchanges += 1
        if self.answer.error is not None:
            raise self.answer.error
        answer = self.answer = Arrival(self, self._pieces)
        if bodiless:
            answer.bodiless = True
        if not self.is_open:
            self._over(None)
        elif len(body) <= WRITE_SIZE:
            self._transport.write(head + body)
        else:
            await self._write(head, body, answer)
        while not answer.status:
            if answer.error is not None:
                raise answer.error
            await answer.news()
        return answer

    def read_on(self) -> None:
        """Read the socket again, after so much had waited that it was left alone."""
        if self.is_open:
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection at once; what was not yet sent is dropped."""
        if self._open:
            self._open = False
            self._transport.abort()

    async def _write(self, head: bytes, body: bytes, answer: Arrival) -> None:
        answer.unsent = True
        self._transport.write(head)
        view = memoryview(body)
        for start in range(0, len(view), WRITE_SIZE):
            while not self._writable and not answer.status and answer.error is None:
                await answer.news()
            if answer.status or answer.error is not None or not self.is_open:
                return
            self._transport.write(view[start : start + WRITE_SIZE])
        answer.unsent = False

    # For the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._open = True
        _tune(transport.get_extra_info("socket"))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.answer.wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view  # no bytearray: asyncio's TLS slices it, and would fill a copy

    def buffer_updated(self, nbytes: int) -> None:
        answer = self.answer
        if answer.complete:
            # Bytes that nobody asked for: on a fresh connection it does not speak HTTP, on an
            # idle one it says goodbye; either way no request may follow.
            self._fail(httpx.RemoteProtocolError("the upstream spoke before it was asked"))
            return
        pieces = self._pieces
        before = len(pieces)
        answer.barren += nbytes
        try:
            self._parser.feed_data(self._view[:nbytes])
        except HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(str(error.__context__ or error)))
            return
        if not answer.complete:
            self._bound(answer, nbytes, len(pieces) - before)
        if answer.complete or answer.held_up or not answer.is_patient:
            answer.wake()

    def _bound(self, answer: Arrival, nbytes: int, pieces: int) -> None:
        """What came does not complete it: see that no more of it waits than may."""
        if not pieces or not answer.status:
            if answer.barren > MAX_HEAD:
                self._fail(httpx.RemoteProtocolError(f"more than {MAX_HEAD} bytes without a body"))
            return
        answer.barren = 0
        answer.waiting += nbytes + pieces * _PIECE_COST
        if answer.waiting > HIGH_WATER and not answer.held_up:
            answer.held_up = True
            self._transport.pause_reading()

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
        answer = self.answer
        if not answer.complete and answer.error is None:
            if answer.until_close and exc is None:
                answer.complete = True
            else:
                answer.error = httpx.ReadError(
                    "the connection ended within the response"
                    if answer.answered
                    else "the connection ended before a response"
                )
                answer.error.__cause__ = exc
        answer.wake()

    def _fail(self, error: httpx.TransportError) -> None:
        answer = self.answer
        if not (answer.complete and answer.status) and answer.error is None:
            answer.error = error
        self.close()
        answer.wake()

    # For the parser; `on_body` is the list of pieces itself

    def on_message_begin(self) -> None:
        if self.answer.complete:
            raise httpx.RemoteProtocolError("more than one response")
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self._fields
        if len(fields) >= MAX_HEADERS:
            raise httpx.RemoteProtocolError(f"more than {MAX_HEADERS} headers")
        fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        answer, parser = self.answer, self._parser
        fields, self._fields = self._fields, []  # what follows are trailers, of no use
        status = parser.get_status_code()
        if status < 200:
            self._skip(status, fields)
            return
        if answer.barren > MAX_HEAD and answer.hint_bytes + _size(fields) > MAX_HEAD:
            raise httpx.RemoteProtocolError(f"more than {MAX_HEAD} bytes of headers")
        if status > 599 or parser.get_http_version() not in _VERSIONS:
            raise httpx.RemoteProtocolError("not a response of HTTP/1.1")
        answer.headers = headers = Headers(fields)
        coding = headers.raw.get(b"transfer-encoding")
        if coding is not None:
            if coding.strip().lower() != b"chunked":
                raise httpx.RemoteProtocolError("a transfer-encoding other than chunked")
        elif b"content-length" not in headers.raw and status not in _BODILESS:
            answer.until_close = True
        answer.status = status
        if answer.bodiless:
            answer.complete = True

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer.status:
            answer.complete = True
            answer.keeps_alive = self._parser.should_keep_alive()
        elif self._pieces:  # which would begin that of the answer
            raise httpx.RemoteProtocolError("an informational response with a body")

    def _skip(self, status: int, fields: list[Header]) -> None:
        answer = self.answer
        answer.hints += 1
        answer.hint_bytes += _size(fields)
        if answer.hints > MAX_INFORMATIONAL or not 100 <= status < 200 or status == 101:
            raise httpx.RemoteProtocolError(f"{answer.hints} informational responses")


def _size(fields: list[Header]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in fields)


def _keep(connection: Connection) -> None:
    """Nobody wants it back."""


def _tune(peer: socket.socket) -> None:
    """A peer that vanished (NAT, power) is noticed; a small write leaves at once."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # not on every system
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # keepalive says nothing while a request is on its way
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE * 1000)
