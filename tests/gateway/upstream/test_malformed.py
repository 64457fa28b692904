"""Rows 16 and 17, over sockets: whatever comes instead of an answer ends, soon and by its name."""

import asyncio
import random
from collections.abc import Callable

import pytest

from gateway.contract.errors import ProviderDisconnected, ProviderError, ProviderGarbled
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import RelayTransport, Upstream
from tests.support import faulty
from tests.support.malformed import BROKEN, CUT

Chat = Callable[..., UpstreamRequest]
MOST = 1 << 20


async def whole(upstream: Upstream, request: UpstreamRequest) -> bytes:
    async with asyncio.timeout(30), upstream.send(request, public=False) as answer:
        return await answer.read(MOST)


async def streamed(upstream: Upstream, request: UpstreamRequest) -> bytes:
    async with asyncio.timeout(30), upstream.send(request, public=False) as answer:
        return b"".join([piece async for piece in answer])


def saying(answer: bytes) -> faulty.Script:
    """Answers so, and then leaves it to the gateway to end the connection."""

    async def script(peer: faulty.Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    return script


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_16_17_a_broken_answer_is_a_protocol_error_and_closes_the_connection(
    upstream: Upstream, transport: RelayTransport, chat: Chat, answer
):
    async with faulty.serving(saying(answer)) as server:
        for ask in (whole, streamed):
            with pytest.raises(ProviderGarbled) as failure:
                await ask(upstream, chat(server.origin))
            assert failure.value.code == "upstream_protocol_error"
            assert transport.open == 0
        await server.until_live(0)


@pytest.mark.parametrize("rst", [False, True])
@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
async def test_16_an_answer_that_is_cut_is_never_taken_for_a_whole_one(
    upstream: Upstream, transport: RelayTransport, chat: Chat, answer, rst
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
    upstream: Upstream, transport: RelayTransport, chat: Chat
):
    chance = random.Random(16)
    bad = [answer for answer in (*BROKEN.values(), *CUT.values()) if len(answer) < 1000]

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
