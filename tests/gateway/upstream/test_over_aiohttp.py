import asyncio

import pytest

from gateway.contract.errors import (
    ProviderDisconnected,
    ProviderError,
    ProviderGarbled,
    ProviderUnreachable,
)
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Upstream, UpstreamSettings, over_aiohttp
from tests.support import faulty


async def ask(upstream: Upstream, origin: str) -> bytes:
    async with upstream.send(UpstreamRequest(f"{origin}/v1", (), b"{}"), public=False) as answer:
        return await answer.read(1000)


@pytest.fixture
async def upstream():
    upstream = Upstream(over_aiohttp.opened(UpstreamSettings()), UpstreamSettings())
    yield upstream
    await upstream.aclose()


@pytest.mark.parametrize(
    "doubtful",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nhi",
    ],
)
async def test_after_an_answer_that_leaves_a_doubt_its_connection_is_not_used_again(
    upstream: Upstream, doubtful: bytes
):
    async with faulty.serving(faulty.replying(doubtful, faulty.response(b"hello"))) as server:
        with pytest.raises(ProviderGarbled):
            await ask(upstream, server.origin)
        await server.until_live(0)


async def test_an_answer_that_was_cut_within_its_head_is_not_asked_for_again(upstream: Upstream):
    async def cuts_the_second(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.response(b"hello"))
        await peer.request()
        await peer.send(b"HTTP/1.1 20")
        peer.reset()

    async with faulty.serving(cuts_the_second) as server:
        assert await ask(upstream, server.origin) == b"hello"
        with pytest.raises(ProviderDisconnected):
            await ask(upstream, server.origin)
        assert len(server.requests) == 2


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1"])
async def test_an_address_that_is_not_written_as_one_is_not_connected_to_unless_a_resolver_says_so(
    upstream: Upstream, host: str
):
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        try:
            assert await ask(upstream, f"http://{host}:{server.port}") == b"hello"
        except ProviderUnreachable:
            assert server.accepted == 0


async def test_a_session_is_made_when_it_is_first_asked_for_and_closed_with_its_engine():
    upstream = Upstream(over_aiohttp.opened(UpstreamSettings()), UpstreamSettings())
    await upstream.aclose()
    async with faulty.serving(faulty.hanging) as server:
        with pytest.raises(ProviderError):
            await ask(upstream, server.origin)
        assert server.accepted == 0
    await asyncio.sleep(0)
