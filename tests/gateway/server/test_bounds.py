"""How long a connection waits for its client, on a loop whose clock jumps to the next timer."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.pipeline import ON_HANG_UP
from gateway.server import Bounds
from gateway.server.bounds import Wait
from tests.support.wire import Wire, statuses

GET = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
BOUNDS = Bounds()


def now() -> float:
    return asyncio.get_running_loop().time()


async def closed(wire: Wire) -> float:
    """Seconds until the connection is closed."""
    began = now()
    while not wire.is_closed:
        assert now() < began + 1000
        await asyncio.sleep(0.1)
    return now() - began


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading the body."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def test_each_wait_has_its_bound() -> None:
    bounds = Bounds(head_timeout=1, keep_alive=2, linger=3)

    assert {wait: bounds.patience[wait] for wait in Wait} == {
        Wait.FIRST: 1,
        Wait.HEAD: 1,
        Wait.NEXT: 2,
        Wait.REST: 3,
    }


@pytest.mark.parametrize(
    ("said", "answered", "within"),
    [
        ([], [], BOUNDS.head_timeout),
        ([b"\r\n"], [], BOUNDS.head_timeout),
        ([b"GET / HT"], [408], BOUNDS.head_timeout),
        ([b"GET / HTTP/1.1\r\nhost: a\r\nx"], [408], BOUNDS.head_timeout),
        ([GET], [204], BOUNDS.keep_alive),
        ([GET, b"\r\n"], [204], BOUNDS.keep_alive),
        ([GET, b"GET / HT"], [204, 408], BOUNDS.head_timeout),
        ([GET + b"GET / HT"], [204, 408], BOUNDS.head_timeout),
    ],
    ids=[
        "nothing",
        "blank-lines",
        "half-a-line",
        "half-a-head",
        "no-more",
        "blank-lines-later",
        "half-of-the-next",
        "half-of-the-next-at-once",
    ],
)
async def test_a_client_that_says_no_more_is_waited_for_so_long(
    said: list[bytes], answered: list[int], within: float
) -> None:
    wire = Wire()
    for piece in said:
        wire.say(piece)
        await wire.settled()

    assert await closed(wire) == pytest.approx(within, abs=0.2)
    assert statuses(wire.heard) == answered


async def test_a_head_that_trickles_has_no_more_time_than_one_that_stops() -> None:
    wire = Wire()
    began = now()
    wire.say(b"GET / HTTP/1.1\r\nhost: a\r\nx: ")
    while not wire.is_closed:
        wire.say(b"y")
        await asyncio.sleep(0.5)

    assert now() - began == pytest.approx(BOUNDS.head_timeout, abs=1)
    assert statuses(wire.heard) == [408]
    assert b'"code":"request_timeout"' in wire.heard


async def test_a_head_counts_from_its_first_byte() -> None:
    wire = Wire()
    await asyncio.sleep(BOUNDS.head_timeout - 1)
    wire.say(b"GET")
    await asyncio.sleep(BOUNDS.head_timeout - 1)
    wire.say(b" / HTTP/1.1\r\nhost: a\r\n\r\n")
    await wire.settled()

    assert statuses(wire.heard) == [204]


async def test_a_client_is_waited_for_anew_after_each_answer() -> None:
    wire = Wire()
    for _ in range(5):
        wire.say(GET)
        await asyncio.sleep(BOUNDS.keep_alive - 1)
        assert not wire.is_closed
    wire.say(GET)
    await wire.settled()

    assert await closed(wire) == pytest.approx(BOUNDS.keep_alive, abs=0.2)


async def test_a_request_that_is_being_answered_is_nobodys_delay() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(500)
        await refusing(scope, receive, send)

    wire = Wire(slow)
    wire.say(GET)
    await asyncio.sleep(499)
    assert not wire.is_closed
    await asyncio.sleep(2)
    assert statuses(wire.heard) == [413]
    assert await closed(wire) == pytest.approx(BOUNDS.keep_alive, abs=2)


async def test_the_rest_of_a_body_that_nobody_reads_is_taken_for_a_while() -> None:
    start = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n0123456789"
    whole, half = Wire(refusing), Wire(refusing)
    for wire in (whole, half):
        wire.say(start)
        await wire.settled()
        assert statuses(wire.heard) == [413]
    whole.say(b"0123456789" + GET)
    await whole.settled()
    assert statuses(whole.heard) == [413, 413]

    async with asyncio.TaskGroup() as tasks:
        waited = tasks.create_task(closed(half))
        for _ in range(5):
            await asyncio.sleep(1)
            half.say(b"0")  # however it trickles
    assert waited.result() == pytest.approx(BOUNDS.linger, abs=0.2)


class Pouring:
    """Sends until its client has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"][ON_HANG_UP](self.left.set)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not self.left.is_set():
            message: Message = {"type": "http.response.body", "body": b"x", "more_body": True}
            await send(message)
            await asyncio.sleep(0.1)


async def behind() -> tuple[Wire, Pouring]:
    """A client that has stopped reading."""
    app = Pouring()
    wire = Wire(app)
    wire.say(GET)
    await asyncio.sleep(1)
    wire.transport.unsent = 65_537
    wire.connection.pause_writing()
    return wire, app


async def test_a_client_that_takes_nothing_is_cut() -> None:
    wire, app = await behind()

    assert await closed(wire) == pytest.approx(BOUNDS.write_timeout, abs=0.2)
    assert wire.transport.is_aborted
    await wire.settled()
    assert app.left.is_set()


async def test_a_client_that_catches_up_is_not() -> None:
    wire, app = await behind()
    await asyncio.sleep(BOUNDS.write_timeout - 1)
    wire.transport.unsent = 0
    wire.connection.resume_writing()
    await asyncio.sleep(BOUNDS.write_timeout)

    assert not wire.is_closed
    wire.leave()
    await app.left.wait()


async def test_the_client_of_a_closed_connection_must_take_the_rest_too() -> None:
    wire = Wire()
    wire.transport.unsent = 10
    wire.say(b"\0")
    assert wire.is_closed
    await asyncio.sleep(BOUNDS.write_timeout - 1)
    assert not wire.transport.is_aborted
    await asyncio.sleep(2)
    assert wire.transport.is_aborted
