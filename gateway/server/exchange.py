"""
One request and its answer, as ASGI has them: what an application may `receive` and `send`.

What must stay true: nothing is sent that is not framed as its head says; an application that does
something else ends its own connection and no other, with status 500 if nothing of an answer is
out; and nobody waits for a client that is gone.

A head waits for the first of its body, as ASGI asks, and goes out with it: a whole answer is one
write, and so is each piece of a stream.

Hot: all of it runs once a request, and `send` once a chunk. Where the body is there already, and
the client keeps up, nothing is waited for and nothing is made to wait with.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from .half_close import INTERIM
from .head import Header, Misused, head_of

MAX_WAITING = 64 * 1024
"""Bytes of a body that wait for the application before no more are read."""
MAX_JOINED = 64 * 1024
"""Bytes of a body that are cheaper to copy behind their head than to write on their own."""

_FAILED: list[Header] = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", b"21"),
    (b"connection", b"close"),
]

_log = structlog.stdlib.get_logger("lockgate.server")


class Carrier(Protocol):
    """A connection, as far as its exchanges know it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    state: ServerState

    def answered(self) -> None:
        """All of the answer is out that ever will be."""
        ...


class Exchange:
    """
    One request on a connection, which says what comes of it.

    `bodiless` says that the head of the answer is all that was asked for, `asks_leave` that the
    client waits for a word before it sends its body.
    """

    __slots__ = (
        "_asks_leave",
        "_bodiless",
        "_carrier",
        "_chunks",
        "_event",
        "_flow",
        "_has_news",
        "_head",
        "_hung_up",
        "_left",
        "_more",
        "_pieces",
        "_task",
        "_transport",
        "_waiting",
        "is_complete",
        "is_cut",
        "keep_alive",
    )

    def __init__(
        self,
        carrier: Carrier,
        *,
        bodiless: bool,
        keep_alive: bool,
        asks_leave: bool,
        chunks: bool = True,
    ) -> None:
        """`chunks`: the client speaks HTTP/1.1, so that it knows them and interim responses."""
        self._carrier = carrier
        self._transport = carrier.transport
        self._flow = carrier.flow
        self._bodiless = bodiless
        self._chunks = chunks
        self._asks_leave = asks_leave
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._more = True
        self._has_news = False
        self._event: asyncio.Event | None = None
        self._hung_up: Callable[[], None] | None = None
        self._head: bytes | None = None
        self._left: int | None = None
        self.keep_alive = keep_alive
        self.is_complete = self.is_cut = False

    def begin(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application answer."""
        carrier = self._carrier
        self._task = carrier.loop.create_task(self._run(app, scope))
        carrier.state.tasks.add(self._task)

    # The connection's side

    def add(self, piece: bytes) -> None:
        """More of the body has come."""
        if self.is_complete:
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > MAX_WAITING:
            self._flow.pause_reading()
        self._tell()

    def end(self) -> None:
        """The body is whole."""
        self._more = False
        self._tell()

    def cut(self) -> None:
        """The client is gone."""
        self.is_cut = True
        self._tell()
        if (hung_up := self._hung_up) is not None:
            self._hung_up = None
            hung_up()

    def _tell(self) -> None:
        self._has_news = True
        if self._event is not None:
            self._event.set()

    @property
    def is_begun(self) -> bool:
        """Whether anything of the answer is out."""
        return self._head == b""

    @property
    def may_be_delayed(self) -> bool:
        """Whether an interim response may be sent: nothing is out, and the client knows them."""
        return not self.is_begun and self._chunks

    @property
    def is_event_stream(self) -> bool:
        """Whether comments may stand in what is on its way: who asks to be told streams events."""
        in_chunks = self._chunks and self._left is None
        return self.is_begun and in_chunks and self._hung_up is not None

    # The application's side, beside ASGI

    def take(self) -> bytes | None:
        """What is left of the body, if nobody has to wait for any of it; else it is received."""
        if self._more or not self._has_news or self._asks_leave or self.is_complete or self.is_cut:
            return None
        return self._taken()

    def on_hang_up(self, callback: Callable[[], None] | None) -> None:
        """Whom to call when the client is gone, at once if it is; None for nobody any more."""
        if callback is not None and self.is_cut:
            callback()
            return
        self._hung_up = callback
        if callback is not None and self._flow.read_paused:
            # A large body may have paused the socket, and a paused one tells of no end.
            self._flow.resume_reading()

    # The application's side, as ASGI has it

    async def receive(self) -> Message:
        """What has come of the body, or that nobody is there any more."""
        if self._asks_leave:
            self._asks_leave = False
            if not self._transport.is_closing():
                self._transport.write(INTERIM)
        if not self._has_news:
            await self._wait()
        if self.is_complete or self.is_cut:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._taken(), "more_body": self._more}

    async def send(self, message: Message) -> None:
        """
        Send the head, or more of the body. Waits while the client is behind.

        Raises:
            Misused: it is not this message's turn, it can't be sent, or it has the wrong length.
        """
        if self._flow.write_paused and not self.is_cut:
            await self._flow.drain()
        if self.is_cut:
            return
        kind = message["type"]
        if kind == "http.response.body" and self._head is not None and not self.is_complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and self._head is None:
            self._start(message["status"], message.get("headers", ()))
        else:
            raise Misused(f"It is not the turn of {kind!r}.")

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:  # noqa: BLE001 - the outermost: whatever it is, the client has its answer
            _log.exception("application_failed", path=scope["path"])
        else:
            if not (self.is_complete or self.is_cut):
                _log.error("application_left", path=scope["path"])
        finally:
            self._carrier.state.tasks.discard(self._task)
            if not (self.is_complete or self.is_cut):
                self._fail()

    def _taken(self) -> bytes:
        self._has_news = False
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._flow.read_paused:
            self._flow.resume_reading()
        return body

    async def _wait(self) -> None:
        self._flow.resume_reading()
        self._event = event = asyncio.Event() if self._event is None else self._event
        while not self._has_news:
            event.clear()
            await event.wait()

    # The answer

    def _start(self, status: int, headers: Iterable[Header]) -> None:
        self._head, self._left, self.keep_alive = head_of(
            status,
            [*self._carrier.state.default_headers, *headers],
            keep_alive=self.keep_alive,
            bodiless=self._bodiless,
            chunks=self._chunks,
        )
        self._asks_leave = False

    def _write(self, body: bytes, *, more: bool) -> None:
        content = body
        if self._bodiless:
            content = b""
        elif self._left is not None:
            self._left = self._less(self._left, len(body), more=more)
        elif self._chunks:
            content = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                content += b"0\r\n\r\n"
        if head := self._head:
            self._head = b""
            if len(content) <= MAX_JOINED:
                content = head + content
            else:
                self._transport.write(head)
        self._transport.write(content)
        if not more:
            self._complete()

    @staticmethod
    def _less(left: int, length: int, *, more: bool) -> int:
        """What is left of the body then."""
        left -= length
        if left < 0 or (left and not more):
            raise Misused("The body is not as long as its head says.")
        return left

    def _complete(self) -> None:
        self.is_complete = True
        self._pieces.clear()
        self._tell()
        if not self.keep_alive:
            self._transport.close()
        self._carrier.answered()

    def _fail(self) -> None:
        if self.is_begun:
            self._transport.close()
            self._carrier.answered()
        else:
            self._start(500, _FAILED)
            self._write(b"Internal Server Error", more=False)
