"""One connection, over memory where a bound is tried and over a socket where the kernel matters."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx
import orjson
import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from gateway.pipeline import ON_HANG_UP
from gateway.server import Bounds
from gateway.server.bounds import MAX_AHEAD, MAX_AHEAD_BYTES
from gateway.server.framing import MAX_HEAD
from tests.support.serving import serving
from tests.support.wire import Seen, Wire, statuses

GET = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
HEAD, CLOSED = 1, 2


class Held:
    """Answers when it is told to, and says what became of each request."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.hung_up: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.begun.append(path)
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                self.hung_up.append(path)
                return
        left = asyncio.Event()
        tell: Callable[..., None] = scope["state"][ON_HANG_UP]
        tell(left.set)
        waits = [asyncio.ensure_future(each.wait()) for each in (self.release, left)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        tell(None)
        if left.is_set():
            self.hung_up.append(path)
            return
        body = path.encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def error(answer: bytes) -> dict[str, object]:
    told: dict[str, dict[str, object]] = orjson.loads(answer.partition(b"\r\n\r\n")[2])
    return told["error"]


# What a refusal looks like


async def test_a_refusal_is_an_error_like_any_other_and_can_be_found_in_the_log() -> None:
    with capture_logs() as logged:
        wire = Wire()
        wire.say(b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n")
        await wire.settled()
    head, _, body = wire.heard.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    assert (headers["connection"], headers["x-should-retry"]) == ("close", "false")
    assert headers["x-lockgate-error-source"] == "gateway"
    assert error(wire.heard) == {
        "message": "The request needs one valid Host header.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_http",
    }
    assert [(line["event"], line["request_id"], line["client"]) for line in logged] == [
        ("connection_refused", headers["x-request-id"], "192.0.2.1")
    ]


async def test_nothing_is_heard_after_a_refusal() -> None:
    wire = Wire()
    wire.connection.data_received(b"\0")
    wire.connection.data_received(GET)
    await wire.settled()

    assert (statuses(wire.heard), wire.app.paths) == ([400], [])


# Amounts


@pytest.mark.parametrize("line", [b"a: b\r\n", b"a" * 1000])
async def test_a_head_without_an_end_is_refused_and_not_kept(line: bytes) -> None:
    async with serving() as running:
        reader, writer = await _connected(running.urls[0])
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        with suppress(ConnectionError):
            for _ in range(3 * MAX_HEAD // len(line)):
                writer.write(line)
                await writer.drain()
        with suppress(ConnectionError):
            assert b" 431 " in await reader.readline()
        writer.close()
        assert running.apps[0].heard == ["lifespan.startup"]


async def test_a_body_is_no_part_of_the_head() -> None:
    async with serving() as running, httpx.AsyncClient() as http:
        for _ in range(2):
            answer = await http.post(running.urls[0], content=b"x" * 4 * MAX_HEAD)
            assert answer.status_code == 204


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("begun", "endless"),
    [(b"0\r\n", b"x: y\r\n" * 150), (b"0\r\nx: ", b"y" * 1000), (b"1;", b"x" * 1000)],
    ids=["trailers", "one-trailer", "one-extension"],
)
async def test_what_stands_around_a_body_has_a_bound(begun: bytes, endless: bytes) -> None:
    wire = Wire()
    wire.say(CHUNKED, begun)
    for _ in range(2 * MAX_HEAD // len(endless)):
        wire.say(endless)
    await wire.settled()

    assert statuses(wire.heard) == [400]
    assert wire.is_closed
    assert b"framing" in wire.heard


async def test_a_body_may_come_in_chunks_of_one_byte() -> None:
    wire = Wire()
    wire.say(CHUNKED)
    for _ in range(MAX_HEAD):
        wire.say(b"1\r\nx\r\n")
    wire.say(b"0\r\n\r\n")
    await wire.settled()

    assert statuses(wire.heard) == [204]


async def test_a_head_that_begins_behind_another_request_is_bounded_like_any_other() -> None:
    wire = Wire()
    wire.say(GET + b"GET /b HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 4 * MAX_HEAD)
    await wire.settled()
    wire.say(b"\r\n\r\n")
    await wire.settled()

    assert (statuses(wire.heard), wire.app.paths) == ([204, 431], ["/a"])
    assert wire.is_closed


async def test_a_small_head_may_begin_in_whatever_large_piece() -> None:
    wire = Wire()
    large = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (4 * MAX_HEAD)
    wire.say(large + b"x" * 4 * MAX_HEAD + b"GET /b HTTP/1.1\r\nhost: ")
    await wire.settled()
    wire.say(b"a\r\n\r\n")
    await wire.settled()

    assert (statuses(wire.heard), wire.app.paths) == ([204, 204], ["/a", "/b"])


# One after the other


async def test_requests_that_are_sent_together_are_answered_in_order_and_one_at_a_time() -> None:
    app = Held()
    wire = Wire(app)
    wire.say(b"".join(GET.replace(b"/a", b"/%d" % number) for number in range(MAX_AHEAD + 1)))
    await asyncio.sleep(0.01)
    assert app.begun == ["/0"]

    app.release.set()
    await wire.settled()

    assert app.begun == [f"/{number}" for number in range(MAX_AHEAD + 1)]
    assert statuses(wire.heard) == [200] * (MAX_AHEAD + 1)
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in wire.heard.split(b"HTTP/1.1 ")[1:]] == [
        b"/%d" % number for number in range(MAX_AHEAD + 1)
    ]
    assert not wire.is_closed


async def test_no_more_than_so_many_wait_and_those_are_answered_first() -> None:
    app = Held()
    wire = Wire(app)
    wire.say(GET * (MAX_AHEAD + 50))
    app.release.set()
    await wire.settled()

    assert statuses(wire.heard) == [200] * (MAX_AHEAD + 1) + [503]
    assert len(app.begun) == MAX_AHEAD + 1
    assert wire.is_closed


async def test_no_more_than_so_many_bytes_wait() -> None:
    app = Held()
    wire = Wire(app)
    wire.say(GET)
    wire.say(b"POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n")
    for _ in range(2 * MAX_AHEAD_BYTES // 65_536):
        wire.say(b"x" * 65_536)
    app.release.set()
    await wire.settled()

    assert statuses(wire.heard) == [200, 503]
    assert app.begun == ["/a"]  # half a request is none
    assert wire.is_closed


async def test_a_request_behind_one_that_says_it_is_the_last_is_none() -> None:
    wire = Wire()
    wire.say(b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + GET)
    await wire.settled()

    assert (statuses(wire.heard), wire.app.paths) == ([204], ["/a"])
    assert wire.is_closed


@pytest.mark.parametrize("asks", [b"upgrade: websocket", b"upgrade: h2c"])
async def test_who_asks_for_another_protocol_is_answered_in_this_one_and_no_more(
    asks: bytes,
) -> None:
    with capture_logs() as logged:
        wire = Wire()
        wire.say(
            b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n" + asks + b"\r\n\r\n" + GET
        )
        wire.say(GET)
        await wire.settled()

    assert (statuses(wire.heard), wire.app.paths) == ([204], ["/a"])
    assert wire.is_closed
    assert logged == []


async def test_after_a_request_that_waits_for_leave_the_connection_closes() -> None:
    """Who got an answer instead may send the body or leave it out, and nobody could tell."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    wire = Wire(refusing)
    wire.say(b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 99\r\n\r\n")
    await wire.settled()

    assert statuses(wire.heard) == [401]
    assert wire.is_closed


async def test_a_body_that_turns_out_malformed_ends_its_request() -> None:
    app = Held()
    with capture_logs() as logged:
        wire = Wire(app)
        wire.say(CHUNKED + b"5\r\nhello\r\n")
        await asyncio.sleep(0.01)
        wire.say(b"nonsense\r\n")
        await wire.settled()

    assert statuses(wire.heard) == [400]
    assert (app.hung_up, wire.is_closed) == (["/a"], True)
    assert [line["event"] for line in logged] == ["connection_refused"]


async def test_an_answer_that_has_begun_ends_with_its_malformed_request() -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"early", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    wire = Wire(early)
    wire.say(CHUNKED)
    await asyncio.sleep(0.01)
    wire.say(b"nonsense\r\n")
    await wire.settled()

    assert statuses(wire.heard) == [200]
    assert wire.transport.is_aborted
    assert not wire.state.tasks


async def test_a_request_that_was_answered_gets_no_second_answer() -> None:
    """Whoever is in front would take it for the answer to the next request."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    for rest in (b"nonsense\r\n", b"1;" + b"x" * 2 * MAX_HEAD):
        wire = Wire(refusing)
        wire.say(CHUNKED)
        await wire.settled()
        wire.say(rest)
        wire.say(GET)
        await wire.settled()

        assert statuses(wire.heard) == [404]
        assert wire.is_closed


# Ends


async def test_who_answers_hears_at_once_that_the_client_is_gone() -> None:
    app = Held()
    wire = Wire(app)
    wire.say(GET)
    await asyncio.sleep(0.01)
    wire.leave()
    await wire.settled()

    assert app.hung_up == ["/a"]


async def test_a_client_that_leaves_with_requests_waiting_makes_no_noise() -> None:
    app = Held()
    with capture_logs() as logged:
        wire = Wire(app)
        wire.say(GET * 3)
        await asyncio.sleep(0.01)
        wire.leave()
        await wire.settled()

    assert (app.begun, app.hung_up) == (["/a"], ["/a"])
    assert logged == []


async def test_an_answer_of_a_length_has_nothing_put_into_it_for_who_has_finished_speaking() -> (
    None
):
    release = asyncio.Event()

    async def halves(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await release.wait()
        await send({"type": "http.response.body", "body": b"cd"})

    wire = Wire(halves)
    wire.say(GET)
    await asyncio.sleep(0.01)
    assert wire.connection.eof_received()
    release.set()
    await wire.settled()

    assert wire.heard.endswith(b"\r\n\r\nabcd")
    assert wire.is_closed


# Places


async def test_a_client_beyond_the_last_place_is_told_and_let_go() -> None:
    last, beyond = Wire(bounds=Bounds(places=20), fd=19), Wire(bounds=Bounds(places=20), fd=20)
    for wire in (last, beyond):
        wire.say(GET)
        await wire.settled()

    assert statuses(last.heard) == [204]
    assert statuses(beyond.heard) == [503]
    assert error(beyond.heard)["code"] == "too_many_connections"
    assert b"retry-after: 1\r\nx-should-retry: true\r\n" in beyond.heard
    assert beyond.is_closed


async def test_a_connection_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    wire = Wire(Seen())
    wire.say(GET)
    await wire.settled()
    wire.leave()
    await wire.settled()

    assert asyncio.all_tasks() == before
    assert not wire.state.connections
    assert not wire.state.tasks
