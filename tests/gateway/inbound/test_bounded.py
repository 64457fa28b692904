"""Bodies that FastAPI reads: over the whole application, where each refusal has its answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from starlette.types import Message

from gateway.app import Gateway
from gateway.inbound.bounded import MAX_BODY, BodyRefused, BoundedReceive
from gateway.inbound.settings import HttpSettings
from tests.support.application import Exchange, exchanged, running

SIGN_IN = "/admin/v1/sessions"
JSON = [(b"content-type", b"application/json")]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as gateway:
        yield gateway


async def asked(app: Gateway, *pieces: bytes | None, **headers: str) -> Exchange:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await exchanged(app, *pieces, path=SIGN_IN, headers=[*JSON, *named])


def code(exchange: Exchange) -> tuple[int, str]:
    return exchange.status, orjson.loads(exchange.body)["error"]["code"]


async def test_a_body_that_is_announced_as_too_large_is_not_read(app: Gateway) -> None:
    exchange = await asked(app, b"x", content_length=str(MAX_BODY + 1))

    assert code(exchange) == (413, "request_too_large")
    assert exchange.read == 0


async def test_a_body_that_grows_too_large_is_read_no_further(app: Gateway) -> None:
    piece = b"x" * (MAX_BODY // 4)

    assert code(await asked(app, *[piece] * 9)) == (413, "request_too_large")


async def test_a_compressed_body_is_refused(app: Gateway) -> None:
    refused = await asked(app, b"x", content_encoding="gzip")

    assert code(refused) == (415, "unsupported_media_type")


async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_the_bound() -> None:
    async def receive() -> Message:
        return await asyncio.get_running_loop().create_future()

    bounded = BoundedReceive(receive, [], HttpSettings(body_timeout=0.01))
    with pytest.raises(BodyRefused) as refused:
        await bounded()

    assert (refused.value.status_code, refused.value.refusal.code) == (408, "request_timeout")


async def test_a_body_within_the_bounds_is_read_as_ever(app: Gateway) -> None:
    exchange = await asked(app, b'{"name": "nobody", ', b'"password": "wrong"}')

    assert exchange.status == 401


async def test_a_body_that_trickles_is_too_slow() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"x", "more_body": True}

    seconds = iter(range(1000))
    bounded = BoundedReceive(
        receive, [], HttpSettings(min_body_rate=2), now=lambda: float(next(seconds))
    )
    for _ in range(20):  # 20 bytes in 20 s, of which 10 s count: just enough
        await bounded()

    with pytest.raises(BodyRefused):
        await bounded()


async def test_after_the_body_the_end_of_the_client_is_waited_for_without_a_bound() -> None:
    told = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"", "more_body": False},
    ]

    async def receive() -> Message:
        return told.pop()

    bounded = BoundedReceive(receive, [], HttpSettings())
    assert (await bounded())["type"] == "http.request"
    assert (await bounded())["type"] == "http.disconnect"
