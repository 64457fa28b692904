"""`upstream.proxy`: public upstreams are reached through it, private ones directly."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.contract.errors import ProviderDisconnected, ProviderGarbled, ProviderUnreachable
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Upstream, UpstreamSettings
from tests.gateway.upstream.engines import ENGINES
from tests.support import faulty

Chat = Callable[..., UpstreamRequest]
HELLO = faulty.replying(faulty.response(b"hello"))
pytestmark = pytest.mark.cannot(own="it goes through no proxy: the settings refuse one")


@asynccontextmanager
async def through(name: str, proxy: faulty.Server, **settings) -> AsyncIterator[Upstream]:
    """An engine that goes through a proxy, as somebody with a password."""
    given = {
        "transport": name,
        "proxy": f"http://us%65r:canary@127.0.0.1:{proxy.port}",
        **settings,
    }
    made = UpstreamSettings.model_validate(given)
    upstream = Upstream(ENGINES[name](made), made)
    yield upstream
    await upstream.aclose()


async def ask(upstream: Upstream, request: UpstreamRequest, *, public: bool = True) -> bytes:
    async with upstream.send(request, public=public) as answer:
        return await answer.read(1000)


def tunnelling(asked: list[bytes]) -> faulty.Script:
    """Connects whoever asks with whom it asks for."""

    async def script(peer: faulty.Peer) -> None:
        head = await peer.head()
        asked.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.wait(
            [
                asyncio.ensure_future(pump(peer.reader, writer)),
                asyncio.ensure_future(pump(reader, peer.writer)),
            ],
        )

    return script


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_public_upstream_is_asked_through_the_proxy_and_a_private_one_directly(
    engine_name: str, chat: Chat
):
    async with (
        faulty.serving(faulty.replying(faulty.response(b"by proxy"))) as proxy,
        faulty.serving(HELLO) as server,
        through(engine_name, proxy) as upstream,
    ):
        for _ in range(2):
            assert await ask(upstream, chat("http://up.example")) == b"by proxy"
        assert await ask(upstream, chat(server.origin), public=False) == b"hello"
    assert proxy.accepted == 1
    assert len(server.requests) == 1
    got = proxy.requests[0]
    assert got.line == "POST http://up.example/v1/chat/completions HTTP/1.1"
    assert got.headers["host"] == "up.example"
    assert got.headers["proxy-authorization"] == _basic("user:canary")
    assert "proxy-authorization" not in server.requests[0].headers


async def test_with_tls_the_proxy_sees_no_more_than_where_it_leads(
    engine_name: str, chat: Chat, tmp_path: Path
):
    asked: list[bytes] = []
    ca_file, context = faulty.self_signed(tmp_path)
    async with (
        faulty.serving(tunnelling(asked)) as proxy,
        faulty.serving(HELLO, context=context) as server,
        through(engine_name, proxy, ca_file=ca_file) as upstream,
    ):
        for _ in range(2):
            assert await ask(upstream, chat(server.origin)) == b"hello"
        assert server.accepted == proxy.accepted == 1
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
    assert _basic("user:canary").encode() in asked[0]
    assert b"Bearer" not in asked[0]
    assert "proxy-authorization" not in server.requests[0].headers


async def test_04_a_certificate_is_verified_through_a_proxy_too(
    engine_name: str, chat: Chat, tmp_path: Path
):
    _, context = faulty.self_signed(tmp_path)
    async with (
        faulty.serving(tunnelling([])) as proxy,
        faulty.serving(faulty.hanging, context=context) as server,
        through(engine_name, proxy) as upstream,
    ):
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(upstream, chat(server.origin))
        assert failure.value.code == "upstream_tls_error"
        assert server.requests == []


@pytest.mark.parametrize("status", ["407 Who Are You", "502 Bad Gateway"])
async def test_a_proxy_that_will_not_connect_is_an_upstream_that_can_not_be_reached(
    engine_name: str, chat: Chat, status: str
):
    refusal = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()
    async with (
        faulty.serving(faulty.replying(refusal)) as proxy,
        through(engine_name, proxy) as upstream,
    ):
        with pytest.raises(ProviderUnreachable) as failure:
            await ask(upstream, chat("https://up.example"))
        assert "canary" not in str(failure.value)
        assert len(proxy.requests) == 1


async def test_a_proxy_that_is_not_there_is_an_upstream_that_can_not_be_reached(
    engine_name: str, chat: Chat
):
    gone = faulty.Server(port=faulty.refusing_port())
    async with through(engine_name, gone) as upstream:
        for origin in ("http://up.example", "https://up.example"):
            with pytest.raises(ProviderUnreachable):
                await ask(upstream, chat(origin))


async def test_a_proxy_that_hangs_up_is_never_an_answer(engine_name: str, chat: Chat):
    async with (
        faulty.serving(faulty.cutting(b"")) as proxy,
        through(engine_name, proxy) as upstream,
    ):
        with pytest.raises(ProviderDisconnected):
            await ask(upstream, chat("http://up.example"))
        with pytest.raises((ProviderDisconnected, ProviderUnreachable, ProviderGarbled)):
            await ask(upstream, chat("https://up.example"))


def _basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()
