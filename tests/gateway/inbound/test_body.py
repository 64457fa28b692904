import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from gateway.app import Gateway
from gateway.contract.errors import (
    BodyTooLarge,
    BodyTooSlow,
    GatewayError,
    InvalidRequest,
    UnsupportedMediaType,
)
from gateway.contract.head import head_of
from gateway.inbound.body import body_at_hand, read_body
from gateway.pipeline import BODY, ClientHungUp, Interrupt
from tests.support.application import (
    CONFIG,
    KEY,
    UNKNOWN_KEY,
    bearer,
    built,
    exchanged,
    listening,
    raw,
    running,
)

MAX = 64
SMALL = CONFIG + f"http: {{max_body: {MAX}, body_timeout: 100ms}}\n"


class Wire:
    """Gives a body piece by piece and counts what was taken of it."""

    def __init__(self, pieces: Sequence[bytes | None]) -> None:
        self._pieces = list(pieces)
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken == len(self._pieces):
            await asyncio.get_running_loop().create_future()
        piece = self._pieces[self.taken]
        self.taken += 1
        if piece is None:
            return {"type": "http.disconnect"}
        more = self.taken < len(self._pieces)
        return {"type": "http.request", "body": piece, "more_body": more}


async def read(*pieces: bytes | None, **headers: str) -> tuple[bytes | type[Exception], int]:
    """What `read_body` gave or raised, and how many pieces it took."""
    wire = Wire(pieces)
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    try:
        with Interrupt() as interrupt:
            body = await read_body(
                wire.receive, head_of(named), interrupt, max_body=MAX, patience=0.02
            )
    except (GatewayError, ClientHungUp) as error:
        return type(error), wire.taken
    return body, wire.taken


@settings(deadline=None, max_examples=50)
@given(cut=st.data(), size=st.integers(0, MAX), announced=st.booleans())
async def test_a_body_within_the_bound_is_the_sum_of_its_pieces(
    cut: st.DataObject, size: int, announced: bool
) -> None:
    body = bytes(range(size))
    cuts = sorted(cut.draw(st.lists(st.integers(0, size), max_size=8)))
    pieces = [body[a:b] for a, b in pairwise([0, *cuts, size])]

    headers = {"content_length": str(size)} if announced else {}
    assert await read(*pieces, **headers) == (body, len(pieces))


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, MAX), min_size=1, max_size=8))
async def test_no_piece_is_taken_after_the_first_byte_too_many(sizes: list[int]) -> None:
    sizes = [*sizes, MAX + 1]
    needed = next(n for n in range(1, len(sizes) + 1) if sum(sizes[:n]) > MAX)

    assert await read(*(b"x" * size for size in sizes), b"more") == (BodyTooLarge, needed)


async def test_a_body_of_exactly_the_bound_is_read_and_one_byte_more_is_not() -> None:
    assert await read(b"x" * MAX) == (b"x" * MAX, 1)
    assert await read(b"x" * MAX, b"") == (b"x" * MAX, 2)
    assert await read(b"x" * MAX, b"x") == (BodyTooLarge, 2)
    assert await read(b"x" * MAX, content_length=str(MAX)) == (b"x" * MAX, 1)


async def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    assert await read(b"x", content_length=str(MAX + 1)) == (BodyTooLarge, 0)


async def test_a_body_that_is_larger_than_announced_is_still_bounded() -> None:
    assert await read(b"x" * 40, b"x" * 40, content_length="10") == (BodyTooLarge, 2)


@pytest.mark.parametrize(
    "length", ["", "ten", "-1", "+5", "1_0", "0x10", "1.5", "5, 5", "²", "\u0665"]
)
async def test_a_length_that_is_no_number_is_refused_before_the_body_is_read(length: str) -> None:
    assert await read(b"x", content_length=length) == (InvalidRequest, 0)


async def test_a_length_of_many_digits_is_too_large() -> None:
    assert await read(b"x", content_length="9" * 5000) == (BodyTooLarge, 0)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP"])
async def test_a_compressed_body_is_refused_before_it_is_read(coding: str) -> None:
    assert await read(gzip.compress(b"{}"), content_encoding=coding) == (UnsupportedMediaType, 0)


@pytest.mark.parametrize("coding", ["identity", "Identity"])
async def test_a_body_that_says_it_is_not_compressed_is_read(coding: str) -> None:
    assert await read(b"{}", content_encoding=coding) == (b"{}", 1)


async def test_a_client_that_hangs_up_while_it_sends_is_noticed() -> None:
    assert await read(None) == (ClientHungUp, 1)
    assert await read(b"half", None) == (ClientHungUp, 2)


async def test_a_body_whose_next_piece_does_not_come_is_too_slow() -> None:
    wire = Wire([b"half", b""])
    wire._pieces.pop()

    async def receive() -> Message:
        message = await wire.receive()
        return {**message, "more_body": True}

    with pytest.raises(BodyTooSlow), Interrupt() as interrupt:
        await read_body(receive, {}, interrupt, max_body=MAX, patience=0.01)
    assert wire.taken == 1


def at_hand(body: bytes | None, **headers: str) -> bytes | type[Exception] | None:
    """What `body_at_hand` gave or raised, of a server that has this."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"state": {BODY: lambda: body}}
    try:
        return body_at_hand(scope, head_of(named), MAX)
    except GatewayError as error:
        return type(error)


def test_a_body_that_the_server_has_is_taken_within_the_same_bounds() -> None:
    assert at_hand(b"x" * MAX) == b"x" * MAX
    assert at_hand(b"x" * (MAX + 1)) is BodyTooLarge
    assert at_hand(b"{}", content_encoding="gzip") is UnsupportedMediaType
    assert at_hand(b"{}", content_encoding="identity") == b"{}"
    assert at_hand(b"") == b""


@pytest.mark.parametrize("scope", [{}, {"state": {}}, {"state": {BODY: lambda: None}}])
def test_a_body_that_no_server_has_is_to_be_read(scope: dict[str, Any]) -> None:
    assert body_at_hand(scope, {}, MAX) is None


async def test_a_cancellation_reaches_whoever_receives() -> None:
    async def receive() -> Message:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            heard.append("cancelled")
            await asyncio.sleep(0)  # what it does about it, it may take its time for
            heard.append("done")
            raise
        raise AssertionError

    async def read() -> bytes:
        with Interrupt() as interrupt:
            return await read_body(receive, {}, interrupt, max_body=MAX, patience=30)

    heard: list[str] = []
    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert heard == ["cancelled", "done"]


async def test_the_bound_on_waiting_is_between_pieces_and_not_on_the_whole() -> None:
    async def slowly() -> Message:
        await asyncio.sleep(0.02)
        left.pop()
        return {"type": "http.request", "body": b"x", "more_body": bool(left)}

    left = [0] * 10
    with Interrupt() as interrupt:
        body = await read_body(slowly, {}, interrupt, max_body=MAX, patience=0.15)
    assert body == b"x" * 10


class Trickle:
    """Gives one byte at each asking, of a loop whose clock goes on by so much each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float) -> None:
        self._clock, self._step, self.taken = 0.0, step, 0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self._clock)

    async def receive(self) -> Message:
        self._clock += self._step
        self.taken += 1
        return {"type": "http.request", "body": b"x", "more_body": self.taken < MAX}


async def test_a_body_that_trickles_is_too_slow_once_its_first_seconds_are_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched, Interrupt() as interrupt:
        wire = Trickle(patched, 1.0)
        with pytest.raises(BodyTooSlow):
            await read_body(wire.receive, {}, interrupt, max_body=MAX, patience=30, min_rate=5)
    # 13 bytes in 13 s, of which 3 s count: 15 were due.
    assert wire.taken == 14


@pytest.mark.parametrize(("step", "rate"), [(1.0, 1), (1.0, 0), (0.1, 10)])
async def test_a_body_that_keeps_up_with_the_rate_is_read_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, step: float, rate: int
) -> None:
    with monkeypatch.context() as patched, Interrupt() as interrupt:
        wire = Trickle(patched, step)
        body = await read_body(
            wire.receive, {}, interrupt, max_body=MAX, patience=30, min_rate=rate
        )
    assert len(body) == MAX


class TestOnAnInferenceRoute:
    @pytest.fixture
    async def app(self, tmp_path: Path) -> AsyncIterator[Gateway]:
        async with running(tmp_path, SMALL) as gateway:
            yield gateway

    @pytest.mark.parametrize(
        ("headers", "status", "code"),
        [
            ({}, 401, "invalid_api_key"),
            (bearer(UNKNOWN_KEY), 401, "invalid_api_key"),
            (bearer() | {"x-api-key": "another"}, 400, "ambiguous_credentials"),
            (bearer() | {"content-length": str(MAX + 1)}, 413, "request_too_large"),
            (bearer() | {"content-length": "many"}, 400, None),
            (bearer() | {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ],
    )
    async def test_what_the_headers_forbid_is_refused_without_reading_a_byte(
        self, app: Gateway, headers: dict[str, str], status: int, code: str | None
    ) -> None:
        exchange = await exchanged(app, b"{}", headers=raw(headers))

        assert (exchange.status, exchange.read) == (status, 0)
        assert (code or "null").encode() in exchange.body

    async def test_a_client_that_hangs_up_while_it_sends_gets_no_answer(self, app: Gateway) -> None:
        exchange = await exchanged(app, b'{"mod', None)

        assert exchange.sent == []

    async def test_over_a_socket_large_slow_and_keyless_bodies_are_refused(
        self, tmp_path: Path
    ) -> None:
        app = await asyncio.to_thread(built, tmp_path, SMALL)
        async with listening(app) as url:
            large = await _statuses(
                url, KEY, b"transfer-encoding: chunked\r\n\r\n50\r\n" + b"x" * 80
            )
            slow = await _statuses(url, KEY, b"content-length: 20\r\n\r\n{")
            keyless = await _statuses(url, UNKNOWN_KEY, b"content-length: 20\r\n\r\n")
        assert (large, slow, keyless) == (413, 408, 401)


async def _statuses(url: str, key: str, rest: bytes) -> int:
    """The status of the answer to a request that never ends."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    writer.write(head.encode() + rest)
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status
