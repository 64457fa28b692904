import asyncio
from collections.abc import Iterable

import httpx
import pytest

from gateway.upstream import UpstreamSettings
from gateway.upstream.connection import MAX_HEADERS
from gateway.upstream.dialler import dialler_of
from gateway.upstream.exchange import Header
from gateway.upstream.foreign import Asked, ForeignEngine, Unanswered, check


class Answer:
    """A made-up answer of a library's."""

    def __init__(self, status: int = 200, headers: Iterable[Header] = (), version: str = "1.1"):
        self.version = version
        self.status = status
        self.headers = list(headers)
        self.closed = 0
        self.pieces = [b"a", b"b"]

    async def receive(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def aclose(self) -> None:
        self.closed += 1


class Made:
    """A library that answers as it is told."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Asked, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def send(self, asked: Asked) -> Answer:
        self.asked.append((asked, asked.fresh))
        await self.gate.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True


def engine_of(library: Made, **settings) -> ForeignEngine:
    made = UpstreamSettings(**settings)
    return ForeignEngine(made, library, dialler_of(made))


def post(headers: Iterable[Header] = ()) -> httpx.Request:
    return httpx.Request("POST", "http://us:er@127.0.0.1:1/v1", headers=[*headers], content=b"{}")


async def test_a_library_is_given_no_framing_and_no_credential_of_a_urls():
    library = Made(Answer())
    engine = engine_of(library)
    response = await engine.handle_async_request(
        post([(b"X-A", b"1"), (b"Transfer-Encoding", b"chunked")])
    )
    assert b"".join([piece async for piece in response.stream]) == b"ab"
    asked, fresh = library.asked[0]
    assert str(asked.url) == "http://127.0.0.1:1/v1"
    assert (b"X-A", b"1") in asked.headers
    names = {name.lower() for name, _ in asked.headers}
    assert not names & {b"transfer-encoding", b"content-length"}
    assert not fresh
    assert engine.open == engine.idle == 0


async def test_what_met_a_dead_connection_is_sent_once_more_over_a_fresh_one():
    library = Made(Unanswered("x"), Answer(), Unanswered("x"), Unanswered("y"))
    engine = engine_of(library)
    assert (await engine.handle_async_request(post())).status_code == 200
    with pytest.raises(Unanswered, match="y"):
        await engine.handle_async_request(post())
    assert [fresh for _, fresh in library.asked] == [False, True, False, True]
    assert engine.open == 1  # the first answer's, which nobody has closed


async def test_what_met_a_connection_that_was_closed_with_the_engine_is_not_sent_again():
    library = Made(Unanswered("x"))
    library.gate.clear()
    engine = engine_of(library)
    asking = asyncio.get_running_loop().create_task(engine.handle_async_request(post()))
    await asyncio.sleep(0)
    await engine.aclose()
    library.gate.set()
    with pytest.raises(Unanswered):
        await asking
    assert len(library.asked) == 1
    assert library.closed


async def test_an_answer_is_closed_once_however_it_ends():
    read, left = Answer(), Answer()
    engine = engine_of(Made(read, left))
    response = await engine.handle_async_request(post())
    assert [piece async for piece in response.stream] == [b"a", b"b"]
    assert [piece async for piece in response.stream] == []
    await response.stream.aclose()
    response = await engine.handle_async_request(post())
    assert engine.open == 1
    await response.stream.aclose()
    await response.stream.aclose()
    assert read.closed == left.closed == 1
    assert engine.open == engine.waiting == 0


async def test_whoever_waits_for_a_place_has_it_when_an_answer_is_over():
    engine = engine_of(Made(Answer(), Answer()), max_connections=1)
    first = await engine.handle_async_request(post())
    asking = asyncio.get_running_loop().create_task(engine.handle_async_request(post()))
    await asyncio.sleep(0.01)
    assert (engine.open, engine.waiting) == (1, 1)
    await first.stream.aclose()
    await (await asking).stream.aclose()
    assert (engine.open, engine.waiting) == (0, 0)


DOUBTFUL = {
    "a status below all": ("1.1", 99, []),
    "an informational status": ("1.1", 101, []),
    "a status beyond all": ("1.1", 600, []),
    "another protocol": ("0.9", 200, []),
    "no version": ("", 200, []),
    "two lengths": ("1.1", 200, [(b"content-length", b"2"), (b"content-length", b"2")]),
    "a list of lengths": ("1.1", 200, [(b"content-length", b"2, 2")]),
    "a huge length": ("1.1", 200, [(b"content-length", b"9" * 19)]),
    "length and chunks": (
        "1.1",
        200,
        [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")],
    ),
    "packed chunks": ("1.1", 200, [(b"transfer-encoding", b"gzip, chunked")]),
    "too many headers": ("1.1", 200, [(b"a", b"b")] * (MAX_HEADERS + 1)),
    "too much of a header": ("1.1", 200, [(b"a", b"b" * 70_000)]),
}


@pytest.mark.parametrize("name", DOUBTFUL)
async def test_17_a_head_that_leaves_a_doubt_is_no_answer(name: str):
    version, status, headers = DOUBTFUL[name]
    with pytest.raises(httpx.RemoteProtocolError):
        check(version, status, headers)
    answer = Answer(status, headers, version)
    engine = engine_of(Made(answer))
    with pytest.raises(httpx.RemoteProtocolError):
        await engine.handle_async_request(post())
    assert answer.closed == 1
    assert engine.open == 0


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_a_head_that_leaves_none_is(version: str):
    check(version, 200, [(b"content-length", b"2"), (b"x", b"y")])
    check(version, 599, [(b"transfer-encoding", b"Chunked")])
