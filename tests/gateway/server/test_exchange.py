"""What an application may receive and send, and what comes of one that does something else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from gateway.pipeline import BODY, ON_HANG_UP
from gateway.server import Bounds
from gateway.server.exchange import MAX_JOINED, MAX_WAITING
from gateway.server.half_close import INTERIM
from tests.support.wire import Wire, statuses

GET = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /a?b=c HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n"
START: Message = {"type": "http.response.start", "status": 200}
FIXED: Message = {**START, "headers": [(b"content-length", b"5")]}
FAILED = b"Internal Server Error"


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


class Counted(Wire):
    """Keeps what is written, piece by piece."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        super().__init__(app)
        self.writes: list[bytes] = []
        write = self.transport.write

        def written(data: Any) -> None:
            self.writes.append(bytes(data))
            write(data)

        self.transport.write = written  # type: ignore[method-assign]


async def sent(*messages: Message, request: bytes = GET) -> Counted:
    """What goes out where an application sends these."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    wire = Counted(app)
    wire.say(request)
    await wire.settled()
    return wire


# The answer


async def test_a_whole_answer_is_one_write() -> None:
    wire = await sent(FIXED, body(b"hello"))

    assert wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"]
    assert not wire.is_closed


async def test_a_stream_is_one_write_for_each_of_its_pieces() -> None:
    wire = await sent(START, body(b"a" * 17, more=True), body(b"b", more=True), body(b"c"))

    assert wire.writes == [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11\r\n" + b"a" * 17 + b"\r\n",
        b"1\r\nb\r\n",
        b"1\r\nc\r\n0\r\n\r\n",
    ]


async def test_a_piece_without_bytes_sends_the_head_and_ends_no_stream() -> None:
    wire = await sent(START, body(b"", more=True), body(b"", more=True), body(b""))

    assert wire.heard == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    assert wire.writes[0].endswith(b"\r\n\r\n")


async def test_a_large_body_is_not_copied_behind_its_head() -> None:
    large = b"x" * (MAX_JOINED + 1)
    wire = await sent({**START, "headers": [(b"content-length", b"%d" % len(large))]}, body(large))

    assert wire.writes[1:] == [large]


async def test_a_body_of_a_length_may_come_in_pieces() -> None:
    wire = await sent(FIXED, body(b"he", more=True), body(b"llo", more=True), body(b""))

    assert wire.heard.endswith(b"\r\n\r\nhello")
    assert not wire.is_closed


@pytest.mark.parametrize("start", [START, FIXED])
async def test_who_asks_for_the_head_gets_no_body(start: Message) -> None:
    wire = await sent(start, body(b"hello"), request=GET.replace(b"GET", b"HEAD") + GET)
    first, _, rest = wire.heard.partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_the_date_of_the_moment_is_in_every_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(FIXED)
        await send(body(b"hello"))

    wire = Wire(app)
    for date in (b"one", b"two"):
        wire.state.default_headers = [(b"date", date)]
        wire.say(GET)
        await wire.settled()

    assert wire.heard.count(b"\r\ndate: one\r\n") == wire.heard.count(b"\r\ndate: two\r\n") == 1


@pytest.mark.parametrize(
    "request_", [GET.replace(b"1.1", b"1.0"), GET[:-2] + b"connection: close\r\n\r\n"]
)
async def test_a_connection_that_ends_says_so(request_: bytes) -> None:
    wire = await sent(FIXED, body(b"hello"), request=request_)

    assert b"\r\nconnection: close\r\n\r\nhello" in wire.heard
    assert wire.is_closed


async def test_a_client_that_knows_no_chunks_reads_until_the_end_of_the_connection() -> None:
    wire = await sent(
        START, body(b"one ", more=True), body(b"two"), request=GET.replace(b"1.1", b"1.0")
    )

    head, _, rest = wire.heard.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert head.endswith(b"connection: close")
    assert rest == b"one two"
    assert wire.is_closed


async def test_whoever_asks_late_is_told_at_once_that_the_client_is_gone() -> None:
    told: list[str] = []
    asks = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asks.wait()
        scope["state"][ON_HANG_UP](lambda: told.append("gone"))

    wire = Wire(app)
    wire.say(GET)
    await asyncio.sleep(0.01)
    wire.leave()
    await asyncio.sleep(0.01)
    asks.set()
    await wire.settled()

    assert told == ["gone"]


async def test_nothing_is_sent_while_the_client_is_behind() -> None:
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"a", more=True))
        await release.wait()
        await send(body(b"b"))

    wire = Counted(app)
    wire.say(GET)
    await asyncio.sleep(0.01)
    wire.connection.pause_writing()
    release.set()
    await asyncio.sleep(0.01)
    assert len(wire.writes) == 1

    wire.connection.resume_writing()
    await wire.settled()
    assert wire.writes[1:] == [b"1\r\nb\r\n0\r\n\r\n"]


async def test_what_is_sent_to_a_client_that_has_left_goes_nowhere() -> None:
    left = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await left.wait()
        for message in (START, body(b"a", more=True), body(b"b")):
            await send(message)

    with capture_logs() as logged:
        wire = Counted(app)
        wire.say(GET)
        await asyncio.sleep(0.01)
        wire.leave()
        await asyncio.sleep(0.01)
        left.set()
        await wire.settled()

    assert (wire.writes, logged, wire.state.tasks) == ([], [], set())


# Misuse


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [START],
        [body(b"hello")],
        [START, START],
        [FIXED, START],
        [FIXED, body(b"hello, you")],
        [FIXED, body(b"he")],
        [{**START, "headers": [(b"x", b"a\r\nb: c")]}],
        [{**START, "status": 204}, body(b"hello")],
        [{"type": "http.response.trailers"}],
    ],
)
async def test_an_answer_that_can_not_be_sent_is_an_error(messages: list[Message]) -> None:
    with capture_logs() as logged:
        wire = await sent(*messages)

    assert statuses(wire.heard) == [500]
    assert wire.heard.endswith(FAILED)
    assert wire.is_closed
    assert [line["log_level"] for line in logged] == ["error"]
    assert not wire.state.tasks


@pytest.mark.parametrize(
    "messages",
    [
        [START, body(b"hello", more=True)],
        [START, body(b"hello", more=True), START],
        [FIXED, body(b"he", more=True), body(b"llo, you")],
        [FIXED, body(b"he", more=True), body(b"")],
    ],
)
async def test_an_answer_that_goes_wrong_on_its_way_is_left_open(messages: list[Message]) -> None:
    with capture_logs() as logged:
        wire = await sent(*messages)

    assert statuses(wire.heard) == [200]
    assert not wire.heard.endswith((b"0\r\n\r\n", b"hello"))
    assert wire.is_closed
    assert len(logged) == 1


async def test_a_client_that_takes_nothing_of_what_went_wrong_is_cut() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"hello", more=True))
        wire.transport.unsent = 100  # too little for a pause

    wire = Wire(app, Bounds(write_timeout=0.01))
    wire.say(GET)
    await wire.settled()
    await asyncio.sleep(0.05)

    assert wire.transport.is_aborted


async def test_a_message_behind_the_last_is_an_error_and_harms_no_answer() -> None:
    with capture_logs() as logged:
        wire = await sent(FIXED, body(b"hello"), body(b"more"))

    assert [line["event"] for line in logged] == ["application_failed"]
    assert wire.heard.endswith(b"\r\n\r\nhello")


async def test_an_application_that_is_cancelled_leaves_an_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    wire = Wire(app)
    wire.say(GET)
    await asyncio.sleep(0.01)
    for task in wire.state.tasks:
        task.cancel()
    await wire.settled()

    assert statuses(wire.heard) == [500]
    assert wire.is_closed
    assert not wire.state.tasks


# The request


class Reading:
    """Keeps what it receives, until its client has left."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        while not self.received or self.received[-1]["type"] != "http.disconnect":
            self.received.append(await receive())

    @property
    def bodies(self) -> list[tuple[bytes, bool]]:
        return [
            (each["body"], each["more_body"])
            for each in self.received
            if each["type"] == "http.request"
        ]


async def test_a_request_is_told_as_asgi_has_it() -> None:
    app = Reading()
    wire = Wire(app)
    wire.say((POST % (0, b"X: Y\r\n")).replace(b"/a", b"/a%20b"))
    await asyncio.sleep(0.01)
    wire.leave()
    await wire.settled()
    told = {name: value for name, value in app.scope.items() if name != "state"}

    assert told == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "server": ("192.0.2.2", 80),
        "client": ("192.0.2.1", 5),
        "root_path": "",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"b=c",
        "headers": [(b"host", b"a"), (b"content-length", b"0"), (b"x", b"Y")],
    }
    assert app.received == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_a_body_that_is_there_costs_no_future_and_no_second_task() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got = receive()
        with pytest.raises(StopIteration) as ended:
            got.send(None)  # type: ignore[attr-defined]  # it is a coroutine
        assert ended.value.value == {"type": "http.request", "body": b"hello", "more_body": False}
        for message in (FIXED, body(b"hello")):
            with pytest.raises(StopIteration):
                send(message).send(None)  # type: ignore[attr-defined]

    before = asyncio.all_tasks()
    wire = Wire(app)
    wire.say(POST % (5, b"") + b"hello")
    assert len(asyncio.all_tasks() - before) == 1
    await wire.settled()

    assert wire.heard.endswith(b"\r\n\r\nhello")


async def test_a_body_is_received_as_it_comes() -> None:
    app = Reading()
    wire = Wire(app)
    wire.say(POST % (5, b""))
    for piece in (b"he", b"ll", b"o"):
        await asyncio.sleep(0.01)
        wire.say(piece)
    await asyncio.sleep(0.01)
    wire.leave()
    await wire.settled()

    assert app.bodies == [(b"he", True), (b"ll", True), (b"o", False)]


async def test_no_more_of_a_body_is_read_than_may_wait() -> None:
    release = asyncio.Event()
    reading = Reading()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await reading(scope, receive, send)

    wire = Wire(app)
    wire.say(POST % (3 * MAX_WAITING, b"") + b"x" * MAX_WAITING)
    assert wire.transport.reads
    wire.say(b"x")
    assert not wire.transport.reads

    release.set()
    await asyncio.sleep(0.01)
    assert wire.transport.reads
    assert reading.bodies == [(b"x" * (MAX_WAITING + 1), True)]
    wire.leave()
    await wire.settled()


class Taking(Reading):
    """Asks for the whole body first, twice."""

    def __init__(self, begins: asyncio.Event | None = None) -> None:
        super().__init__()
        self.taken: list[bytes | None] = []
        self._begins = begins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._begins is not None:
            await self._begins.wait()
        self.taken += [scope["state"][BODY](), scope["state"][BODY]()]
        await super().__call__(scope, receive, send)


async def test_a_body_that_is_there_may_be_taken_without_asgi() -> None:
    app = Taking()
    wire = Wire(app)
    wire.say(POST % (5, b"") + b"hello")
    await asyncio.sleep(0.01)
    wire.leave()
    await wire.settled()

    assert app.taken == [b"hello", None]
    assert app.received == [{"type": "http.disconnect"}]


async def test_a_large_body_that_is_taken_lets_the_next_bytes_come() -> None:
    begins = asyncio.Event()
    app = Taking(begins)
    wire = Wire(app)
    large = b"x" * (MAX_WAITING + 1)
    wire.say(POST % (len(large), b"") + large)
    assert not wire.transport.reads
    begins.set()
    await asyncio.sleep(0.01)

    assert wire.transport.reads
    assert app.taken == [large, None]
    wire.leave()
    await wire.settled()


@pytest.mark.parametrize(
    ("headers", "content", "rest"),
    [(b"", b"he", b"llo"), (b"expect: 100-continue\r\n", b"hello", b"")],
)
async def test_a_body_that_is_waited_for_is_received(
    headers: bytes, content: bytes, rest: bytes
) -> None:
    app = Taking()
    wire = Wire(app)
    wire.say(POST % (5, headers) + content)
    await asyncio.sleep(0.01)
    wire.say(rest)
    await asyncio.sleep(0.01)
    wire.leave()
    await wire.settled()

    assert app.taken == [None, None]
    assert b"".join(piece for piece, _ in app.bodies) == b"hello"


async def test_nothing_is_taken_of_a_client_that_has_left() -> None:
    begins = asyncio.Event()
    app = Taking(begins)
    wire = Wire(app)
    wire.say(POST % (5, b"") + b"hello")
    wire.leave()
    await asyncio.sleep(0.01)
    begins.set()
    await wire.settled()

    assert app.taken == [None, None]


async def test_a_client_that_waits_for_leave_gets_it_once_the_body_is_wanted() -> None:
    app = Reading()
    wire = Wire(app)
    wire.say(POST % (2, b"expect: 100-Continue\r\n"))
    assert wire.heard == b""
    await asyncio.sleep(0.01)
    assert wire.heard == INTERIM
    wire.say(b"hi")
    await asyncio.sleep(0.01)

    assert app.bodies == [(b"hi", False)]
    assert wire.heard == INTERIM
    wire.leave()
    await wire.settled()


async def test_leave_is_given_to_nobody_who_has_left() -> None:
    wanted = asyncio.Event()
    reading = Reading()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await wanted.wait()
        await reading(scope, receive, send)

    wire = Wire(app)
    wire.say(POST % (2, b"expect: 100-continue\r\n"))
    await asyncio.sleep(0.01)
    wanted.set()
    wire.leave()
    await wire.settled()

    assert (reading.received, wire.heard) == ([{"type": "http.disconnect"}], b"")


async def test_whoever_has_answered_hears_that_nothing_comes_any_more() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(FIXED)
        await send(body(b"hello"))
        received.append(await receive())

    wire = Wire(app)
    wire.say(POST % (5, b"") + b"hello")
    await wire.settled()

    assert received == [{"type": "http.disconnect"}]


async def test_two_may_wait_for_the_same_body() -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def one() -> None:
            received.append(await receive())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(one())

    wire = Wire(app)
    wire.say(POST % (5, b""))
    await asyncio.sleep(0.01)
    wire.say(b"hello")
    await asyncio.sleep(0.01)
    wire.leave()
    await wire.settled()

    assert [each["type"] for each in received] == ["http.request", "http.disconnect"]
