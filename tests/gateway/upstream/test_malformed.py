"""Rows 16 and 17, over sockets: whatever comes instead of an answer ends, soon and by its name."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from gateway.contract.errors import (
    ProviderDisconnected,
    ProviderError,
    ProviderGarbled,
    ProviderTimedOut,
)
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Deadline, Engine, Upstream
from gateway.upstream.deadline import Watch
from tests.support import faulty
from tests.support.malformed import BROKEN, CUT

Chat = Callable[..., UpstreamRequest]
MOST = 1 << 20

BORNE: Mapping[str, frozenset[str]] = {
    "own": frozenset(),
    "aiohttp": frozenset(
        {
            "lines that end with LF",
            "a space before the colon",
            "a folded header",
            "a space after a chunk size",
            "a chunk that ends with LF",
            "a trailer with a NUL",
        }
    ),
    "httpx": frozenset(
        {
            "lines that end with LF",
            "a folded header",
            "the same length twice",
            "a list of lengths",
            "a space after a chunk size",
            "an extension with a NUL",
            "a trailer with a length",
            "endless trailers",
        }
    ),
}
"""What libraries read as it was most likely meant, before anybody could look at it."""

AWAITED: Mapping[str, frozenset[str]] = {
    "own": frozenset(),
    "aiohttp": frozenset(
        {
            "too many informational responses",
            "an endless chunk extension",
            "an endless chunk size",
        }
    ),
    "httpx": frozenset(
        {
            "http/0.9",
            "a greeting of ssh",
            "a greeting of smtp",
            "a reason without end",
            "too many informational responses",
            "a chunk size beyond 64 bits",
            "an endless chunk extension",
            "an endless chunk size",
            "a trailer without end",
        }
    ),
}
"""What libraries go on waiting for, until a deadline ends it."""


async def whole(upstream: Upstream, request: UpstreamRequest) -> bytes:
    async with asyncio.timeout(30), upstream.send(request, public=False) as answer:
        return await answer.read(MOST)


async def streamed(upstream: Upstream, request: UpstreamRequest) -> bytes:
    async with asyncio.timeout(30), upstream.send(request, public=False) as answer:
        return b"".join([piece async for piece in answer])


async def within(seconds: float, work: Coroutine[Any, Any, bytes]) -> bytes:
    """`work`, under a deadline as an attempt has one."""
    task = asyncio.current_task()
    assert task is not None
    with Deadline(task, Watch()) as deadline:
        deadline.until(asyncio.get_running_loop().time() + seconds, "upstream_timeout")
        return await work


def saying(answer: bytes) -> faulty.Script:
    """Answers so, and then leaves it to the gateway to end the connection."""

    async def script(peer: faulty.Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    return script


@pytest.mark.parametrize("name", BROKEN)
async def test_16_17_a_broken_answer_is_a_protocol_error_and_closes_the_connection(
    upstream: Upstream, transport: Engine, chat: Chat, engine_name: str, name: str
):
    async with faulty.serving(saying(BROKEN[name])) as server:
        if name in BORNE[engine_name]:
            assert await whole(upstream, chat(server.origin)) in (b"hi", b"")
            return
        if name in AWAITED[engine_name]:
            with pytest.raises(ProviderTimedOut):
                await within(0.1, whole(upstream, chat(server.origin)))
            assert transport.open == 0
            return
        for ask in (whole, streamed):
            with pytest.raises(ProviderGarbled) as failure:
                await ask(upstream, chat(server.origin))
            assert failure.value.code == "upstream_protocol_error"
            assert transport.open == 0
        await server.until_live(0)


@pytest.mark.parametrize("rst", [False, True])
@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
async def test_16_an_answer_that_is_cut_is_never_taken_for_a_whole_one(
    upstream: Upstream, transport: Engine, chat: Chat, answer, rst
):
    async with faulty.serving(faulty.cutting(answer, rst=rst)) as server:
        with pytest.raises(ProviderDisconnected):
            await streamed(upstream, chat(server.origin))
        with pytest.raises((ProviderDisconnected, ProviderGarbled)) as failure:
            await whole(upstream, chat(server.origin))
        assert failure.value.code in {"upstream_disconnected", "upstream_truncated"}
        await server.until_live(0)
    assert transport.open == 0


async def test_16_an_informational_response_and_trailers_are_borne(upstream: Upstream, chat: Chat):
    answer = b"HTTP/1.1 103 Hints\r\n\r\n" + faulty.chunked_head()
    answer += b"2;a=b\r\nhi\r\n0\r\nx-checksum: 1\r\n\r\n"
    async with faulty.serving(faulty.replying(answer)) as server:
        for _ in range(2):
            assert await streamed(upstream, chat(server.origin)) == b"hi"
        assert server.accepted == 1


async def test_16_after_broken_answers_no_request_gets_anothers_answer(
    upstream: Upstream, transport: Engine, chat: Chat, engine_name: str
):
    chance = random.Random(16)
    other = BORNE[engine_name] | AWAITED[engine_name]
    broken = [answer for name, answer in BROKEN.items() if name not in other]
    bad = [answer for answer in (*broken, *CUT.values()) if len(answer) < 1000]

    async def mostly_well(peer: faulty.Peer):
        while (request := await peer.request()) is not None:
            if chance.random() < 0.2:
                await peer.send(chance.choice(bad))
                return
            await peer.send(faulty.response(request.body), faulty.response(b"stray")[:2])
            if chance.random() < 0.5:
                return

    async def asks(number: int) -> bool:
        said = b'{"n": %d}' % number
        try:
            answer = await whole(upstream, chat(server.origin, said))
        except ProviderError:
            return False
        assert answer == said
        return True

    async with faulty.serving(mostly_well) as server:
        well = await asyncio.gather(*(asks(number) for number in range(400)))
        assert transport.open == transport.idle
    assert 100 < sum(well) < 400
