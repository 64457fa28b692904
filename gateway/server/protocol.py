"""
One connection of a client, under uvicorn's server: bytes in, exchanges, and their order.

What must stay true: bytes that two readers could understand differently end the connection;
requests are answered one at a time, in the order in which they came; a connection waits for its
client within a bound at every moment (but for a body, whose reader has its own); and whoever
answers a request hears at once that its client is gone.

Hot: `data_received` to `on_message_complete`, and `answered`, run once a request.
"""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httptools
import structlog
from starlette.types import Scope
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from ..pipeline import BODY, ON_HANG_UP
from ..telemetry.ulid import ulid
from .backlog import Backlog
from .bounds import FRAMING_OF_A_BYTE, MAX_AHEAD, MAX_AHEAD_BYTES, Bounds, Wait
from .exchange import Exchange
from .framing import MAX_HEAD, Headers, fault_of, origin_form, size_of
from .half_close import COMMENT, INTERIM, Probe
from .refusals import (
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    MALFORMED,
    NO_PLACE,
    TOO_FAR_AHEAD,
    TOO_MUCH_FRAMING,
    Refusal,
)

_TOO_EARLY = 0.002
"""Seconds by which uvloop may fire early, since it counts whole milliseconds."""
_ASGI = {"version": "3.0", "spec_version": "2.3"}

_log = structlog.stdlib.get_logger("lockgate.server")


class Connection(asyncio.Protocol):
    """One connection, under those bounds; the rest is what uvicorn's server gives each of its."""

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(
        self,
        bounds: Bounds,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.state = server_state
        self._app = config.loaded_app
        self._app_state = app_state
        self._parser = httptools.HttpRequestParser(self)
        # What follows a request that said it was the last is nobody's.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._target = b""
        self._headers: Headers = []
        self._bounds = bounds
        self._latest: Exchange | None = None
        self._answering: Exchange | None = None
        self._queue: deque[tuple[Exchange, Scope]] = deque()
        self._wait: Wait | None = None
        self._patience = bounds.patience
        self._due = self._fires = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._backlog: Backlog
        self._probe: Probe | None = None
        self._refusal: Refusal | None = None
        self._last_words: Refusal | None = None
        self._is_deaf = False
        self._has_begun = False
        self._in_head = True
        self._head = self._framing = self._bodied = self._piece = self._ahead = self._first = 0

    # The socket

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there, and must say something soon."""
        self.state.connections.add(self)  # type: ignore[arg-type]  # it has what uvicorn asks for
        self.transport = transport
        self.flow = FlowControl(transport)
        self._client = get_remote_addr(transport)
        self._of_all = {
            "type": "http",
            "asgi": _ASGI,
            "scheme": "https" if is_ssl(transport) else "http",
            "server": get_local_addr(transport),
            "client": self._client,
            "root_path": "",
        }
        self._backlog = Backlog(self.loop, transport, self._bounds)
        if transport.get_extra_info("socket").fileno() >= self._bounds.places:
            self._refuse(NO_PLACE)
            return
        self._await(Wait.FIRST)

    def data_received(self, data: bytes) -> None:
        """More of a request, or of several."""
        if self._is_deaf:
            return
        self._piece = size = len(data)
        if self._in_head:
            self._head += size
        else:
            self._framing += size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_deaf = True  # it was told that the connection closes; see on_headers_complete
        except httptools.HttpParserError:
            self._refuse(self._refusal or MALFORMED)
            return
        if not self._in_head or self._queue or self._head > MAX_HEAD:
            self._check_amounts()
        answering = self._answering
        if answering is not None and not answering.is_complete:
            self._wait = None
        elif (wait := self._client_owes()) is not self._wait:
            self._await(wait)

    def eof_received(self) -> bool:
        """The client says no more. It may still be reading, or be gone: only a write tells."""
        answering, latest = self._answering, self._latest
        if answering is None or latest is None or answering.is_complete or not self._in_head:
            self._close()
            return False
        self._is_deaf = True
        latest.keep_alive = False
        if answering.may_be_delayed:
            self.transport.write(INTERIM)
        elif answering.is_event_stream:
            self.transport.write(COMMENT)
        self._probe = Probe(self.transport, self._is_answering)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or was closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._backlog.close()
        if self._probe is not None:
            self._probe.close()
        self.state.connections.discard(self)
        self._queue.clear()
        answering, self._answering, self._latest = self._answering, None, None
        self.flow.resume_writing()
        del self._parser  # it leads back here
        if answering is not None:
            answering.cut()

    # The parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_begun, self._first = True, self._piece
        self._target = b""
        self._headers = []

    def on_url(self, target: bytes) -> None:
        """A part of the request's target."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole; if nothing is wrong with it, the request begins to be answered."""
        parser, headers = self._parser, self._headers
        version, named = parser.get_http_version(), dict(headers)
        if (fault := self._fault(version, named)) is not None:
            self._refusal = fault
            raise _Refused
        self._headers = []  # what comes after the body is not one of those that were checked
        self._in_head, self._framing, self._bodied = False, 0, 0
        method = parser.get_method()
        asks_leave = b"expect" in named and _asks_leave(headers)
        # After some requests the client may say anything or nothing, and neither is a request.
        keep_alive = (
            version == "1.1"
            and not asks_leave
            and not parser.should_upgrade()
            and bool(parser.should_keep_alive())
        )
        before = self._latest
        self._latest = exchange = Exchange(
            self,
            bodiless=method == b"HEAD",
            keep_alive=keep_alive,
            asks_leave=asks_leave,
            chunks=version == "1.1",
        )
        scope = self._scope(version, method, headers, exchange)
        if before is None or before.is_complete:
            self._answering = exchange
            exchange.begin(self._app, scope)
        else:
            self.flow.pause_reading()
            self._queue.append((exchange, scope))

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        assert self._latest is not None, "its head was whole"
        self._bodied += len(body)
        self._latest.add(body)

    def on_message_complete(self) -> None:
        """The next bytes are of another request."""
        assert self._latest is not None, "its head was whole"
        self._latest.end()
        self._in_head, self._has_begun, self._head = True, False, 0

    def _scope(self, version: str, method: bytes, headers: Headers, exchange: Exchange) -> Scope:
        raw_path, _, query = origin_form(self._target).partition(b"?")
        path = raw_path.decode("ascii")
        return {
            **self._of_all,
            "http_version": version,
            "method": method.decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": {
                **self._app_state,
                BODY: exchange.take,
                ON_HANG_UP: exchange.on_hang_up,
            },
        }

    # The answer

    def shutdown(self) -> None:
        """No other request is answered. uvicorn's server asks for it."""
        if self._latest is None or self._latest.is_complete:
            self.transport.close()
        else:
            self._latest.keep_alive = False

    def answered(self) -> None:
        """It is the next request's turn, or the client's."""
        if self.transport.is_closing():
            self._backlog.watch()
        elif self._queue:
            self._answering, scope = self._queue.popleft()
            self._answering.begin(self._app, scope)
        elif self._last_words is not None:
            self._say(self._last_words)
        else:
            self._ahead = 0
            if self.flow.read_paused:
                self.flow.resume_reading()
            self._await(self._client_owes())

    def pause_writing(self) -> None:
        """The client is behind."""
        self.flow.pause_writing()
        self._backlog.watch()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.flow.resume_writing()
        self._backlog.close()

    # What the client owes

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.is_complete

    def _client_owes(self) -> Wait:
        if not self._in_head:
            return Wait.REST
        if self._has_begun:
            return Wait.HEAD
        return Wait.FIRST if self._answering is None else Wait.NEXT

    def _await(self, wait: Wait) -> None:
        """
        Bound the wait for something else than before.

        A timer that runs already is left to run, and looks at the clock when it fires: nearly
        every request comes before that, and a timer for each would cost more than all checks.
        """
        self._wait = wait
        self._due = self.loop.time() + self._patience[wait]
        if self._timer is None or self._fires > self._due:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = self._due
        self._timer = self.loop.call_at(self._due, self._waited)

    def _waited(self) -> None:
        self._timer = None
        if self._wait is None:
            return
        if self.loop.time() < self._due - _TOO_EARLY:
            self._arm()
        elif self._wait is Wait.HEAD:
            self._refuse(HEAD_TOO_SLOW)
        else:
            self._close()

    # The end

    def _fault(self, version: str, named: dict[bytes, bytes]) -> Refusal | None:
        target, headers = self._target, self._headers
        if self._queue and len(self._queue) >= MAX_AHEAD:
            return TOO_FAR_AHEAD
        # By the piece, and with all of the one that it began in: only a large one is measured.
        if self._head + self._first > MAX_HEAD and size_of(target, headers) > MAX_HEAD:
            return HEAD_TOO_LARGE
        return fault_of(version, target, headers, named)

    def _check_amounts(self) -> None:
        """Whatever does not end is refused before it fills the memory."""
        if self._in_head:
            if self._head > MAX_HEAD and self._has_begun:
                self._refuse(HEAD_TOO_LARGE)
        else:
            excess = self._framing - (1 + FRAMING_OF_A_BYTE) * self._bodied
            if excess < 0:
                self._framing = self._bodied = 0
            elif excess > MAX_HEAD:
                self._refuse(TOO_MUCH_FRAMING)
        if self._queue:
            self._ahead += self._piece
            if self._ahead > MAX_AHEAD_BYTES:
                self._refuse(TOO_FAR_AHEAD)

    def _refuse(self, refusal: Refusal) -> None:
        """Hear no more of this client, and say so once what came before has been answered."""
        if self._is_deaf:
            return
        self._is_deaf = True
        self._wait = None
        if not self._in_head and self._is_answering():
            self._drop_the_last()
        if self._is_answering():
            self._last_words = refusal
        elif self._in_head or self._answering is None:
            self._say(refusal)
        else:  # the rest of a request that has its answer already
            self._close()

    def _drop_the_last(self) -> None:
        """The request whose body is not whole will never be."""
        if self._queue:
            self._queue.pop()
            return
        assert self._answering is not None, "its answer is on its way"
        self._answering.cut()
        if self._answering.is_begun:
            self.transport.abort()
        self._answering = None

    def _say(self, refusal: Refusal) -> None:
        request_id = ulid(int(datetime.now(UTC).timestamp() * 1000))
        client = None if self._client is None else self._client[0]
        _log.info("connection_refused", request_id=request_id, code=refusal.code, client=client)
        if not self.transport.is_closing():
            self.transport.write(refusal.wire(request_id))
            self._close()

    def _close(self) -> None:
        self.transport.close()
        self._backlog.watch()


def _asks_leave(headers: Headers) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


class _Refused(Exception):
    """Ends the parsing of what came; the connection knows why."""
