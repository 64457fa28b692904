import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.contract.errors import (
    ProviderBlocked,
    ProviderDisconnected,
    ProviderError,
    ProviderGarbled,
    ProviderUnreachable,
)
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Engine, RelayTransport, Upstream, UpstreamSettings
from tests.gateway.upstream.engines import MakeEngine
from tests.support import faulty

Chat = Callable[..., UpstreamRequest]


async def read(upstream: Upstream, request: UpstreamRequest, limit: int = 1 << 20) -> bytes:
    async with upstream.send(request, public=False) as answer:
        return await answer.read(limit)


async def stream(upstream: Upstream, request: UpstreamRequest, into: list[bytes]) -> None:
    async with upstream.send(request, public=False) as answer:
        async for piece in answer:
            into.append(piece)  # noqa: PERF401 - what came before a failure counts


async def test_an_answer_has_status_headers_and_body(upstream: Upstream, chat: Chat):
    headers = [("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")]
    script = faulty.replying(faulty.response(b"slow down", status="429 Busy", headers=headers))
    async with (
        faulty.serving(script) as server,
        upstream.send(
            chat(server.origin), public=False, headers=((b"traceparent", b"00-1"),)
        ) as answer,
    ):
        assert answer.status == 429
        assert answer.headers["content-type"] == "text/plain"
        assert answer.headers["x-a"] == "1, 2"
        assert await answer.read(100) == b"slow down"
    got = server.requests[0]
    assert got.line == "POST /v1/chat/completions HTTP/1.1"
    assert got.body == b'{"model": "m"}'
    assert got.headers["authorization"] == "Bearer canary"
    assert got.headers["traceparent"] == "00-1"
    assert got.headers["accept-encoding"] == "identity"
    assert got.headers["content-length"] == "14"
    assert "user-agent" not in got.headers


async def test_an_answer_read_to_its_end_gives_its_connection_back(
    upstream: Upstream, transport: Engine, chat: Chat
):
    async with faulty.serving(faulty.replying(faulty.chunked(b"data: 1\n\n"))) as server:
        for _ in range(10):
            got: list[bytes] = []
            await stream(upstream, chat(server.origin), got)
            assert b"".join(got) == b"data: 1\n\n"
            assert transport.open == transport.idle
        assert server.accepted == 1


async def test_27_an_answer_left_early_closes_its_connection_at_once(
    upstream: Upstream, transport: Engine, chat: Chat
):
    async def endless(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.chunked_head(), faulty.chunk(b"data: 1\n\n"))
        await peer.gone()

    async with faulty.serving(endless) as server:
        async with upstream.send(chat(server.origin), public=False) as answer:
            assert await anext(aiter(answer)) == b"data: 1\n\n"
        assert transport.open == 0
        await server.until_live(0)


@pytest.mark.parametrize("turns", range(12))
async def test_27_a_cancelled_request_closes_its_connection_at_once(
    upstream: Upstream, transport: Engine, chat: Chat, turns
):
    async def endless(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.chunked_head())
        for _ in range(3):
            await peer.send(faulty.chunk(b"data: 1\n\n"), pause=0.002)
        await peer.gone()

    async with faulty.serving(endless) as server:
        task = asyncio.get_running_loop().create_task(stream(upstream, chat(server.origin), []))
        await asyncio.sleep(turns * 0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transport.open == 0
        await server.until_live(0)


async def test_01_02_what_could_not_be_reached_was_not_sent(upstream: Upstream, chat: Chat):
    with pytest.raises(ProviderUnreachable) as failure:
        await read(upstream, chat(f"http://127.0.0.1:{faulty.refusing_port()}"))
    assert failure.value.code == "no_healthy_upstream"
    for origin in ("http://127.0.0.1:99999", "ftp://127.0.0.1", "http://a:b"):
        with pytest.raises(ProviderUnreachable):
            await read(upstream, chat(origin))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "localhost"]
)
async def test_03_a_public_upstream_with_a_private_address_is_blocked(
    upstream: Upstream, chat: Chat, host: str
):
    async with faulty.serving(faulty.hanging) as server:
        with pytest.raises(ProviderBlocked) as failure:
            async with upstream.send(chat(f"http://{host}:{server.port}"), public=True):
                pytest.fail("it was sent")
        assert server.accepted == 0
    assert (failure.value.status, failure.value.code) == (502, "upstream_blocked_address")
    assert host not in failure.value.message


async def test_the_time_to_connect_may_be_given(upstream: Upstream, chat: Chat):
    async with faulty.serving(faulty.hanging) as server:
        request = chat(f"https://127.0.0.1:{server.port}")
        with pytest.raises(ProviderUnreachable):
            async with upstream.send(request, public=False, connect_timeout=0.05):
                pytest.fail("there was no answer")


async def test_04_a_failure_of_tls_has_its_own_code(upstream: Upstream, chat: Chat, tmp_path: Path):
    _, context = faulty.self_signed(tmp_path)
    async with faulty.serving(faulty.hanging, context=context) as server:
        with pytest.raises(ProviderUnreachable) as failure:
            await read(upstream, chat(server.origin))
    assert (failure.value.status, failure.value.code) == (502, "upstream_tls_error")


@pytest.mark.parametrize("rst", [False, True])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_09_11_ended_before_an_answer_is_disconnected(
    upstream: Upstream, chat: Chat, answer, rst
):
    async with faulty.serving(faulty.cutting(answer, rst=rst)) as server:
        with pytest.raises(ProviderDisconnected) as failure:
            await read(upstream, chat(server.origin))
    assert failure.value.code == "upstream_disconnected"


@pytest.mark.parametrize("rst", [False, True])
async def test_09_11_ended_within_a_stream_is_disconnected_on_the_read(
    upstream: Upstream, chat: Chat, rst
):
    got: list[bytes] = []
    answer = faulty.chunked_head() + faulty.chunk(b"data: 1\n\n")
    async with faulty.serving(faulty.cutting(answer)) as server:
        with pytest.raises(ProviderDisconnected):
            await stream(upstream, chat(server.origin), got)
    assert got == [b"data: 1\n\n"]


async def test_16_garbage_before_and_within_an_answer_is_a_protocol_error(
    upstream: Upstream, chat: Chat
):
    for answer in (b"hello\r\n\r\n", faulty.chunked_head() + b"zz\r\n"):
        async with faulty.serving(faulty.cutting(answer)) as server:
            with pytest.raises(ProviderGarbled) as failure:
                await stream(upstream, chat(server.origin), [])
        assert failure.value.code == "upstream_protocol_error"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_17_an_answer_without_a_body_is_a_protocol_error(
    upstream: Upstream, transport: Engine, chat: Chat, status
):
    answer = f"HTTP/1.1 {status}\r\n\r\n".encode()
    async with faulty.serving(faulty.replying(answer)) as server:
        with pytest.raises(ProviderGarbled) as failure:
            await read(upstream, chat(server.origin))
    assert failure.value.code == "upstream_protocol_error"


@pytest.mark.parametrize("body", [faulty.response(b"x" * 1001), faulty.chunked(b"x" * 1001)])
async def test_15_a_body_beyond_the_limit_is_refused_and_closed(
    upstream: Upstream, transport: Engine, chat: Chat, body
):
    async with faulty.serving(faulty.replying(body)) as server:
        with pytest.raises(ProviderGarbled) as failure:
            await read(upstream, chat(server.origin), limit=1000)
        assert failure.value.code == "upstream_response_too_large"
        assert await read(upstream, chat(server.origin), limit=1001) == b"x" * 1001
        await server.until_live(1)


async def test_15_a_body_of_one_gigabyte_is_not_read_further_than_its_limit(
    upstream: Upstream, chat: Chat
):
    sent = 0

    async def endless(peer: faulty.Peer):
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
        while True:
            await peer.send(bytes(65536))
            sent += 65536

    async with faulty.serving(endless) as server:
        with pytest.raises(ProviderGarbled):
            await read(upstream, chat(server.origin), limit=1 << 20)
        await server.until_live(0)
    assert sent < 64 << 20


async def test_15_a_body_shorter_than_announced_is_truncated(upstream: Upstream, chat: Chat):
    answer = faulty.response(b"0123456789")[:-1]
    async with faulty.serving(faulty.cutting(answer)) as server:
        with pytest.raises(ProviderGarbled) as failure:
            await read(upstream, chat(server.origin))
    assert failure.value.code == "upstream_truncated"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_24_an_answer_in_an_encoding_without_a_decoder_is_refused_and_closed(
    upstream: Upstream, transport: Engine, chat: Chat, encoding
):
    answer = faulty.response(b"\x1f\x8b", headers=[("content-encoding", encoding)])
    async with faulty.serving(faulty.replying(answer)) as server:
        with pytest.raises(ProviderGarbled) as failure:
            await read(upstream, chat(server.origin))
        assert transport.open == 0
    assert failure.value.code == "upstream_unexpected_encoding"


async def test_24_identity_is_no_compression(upstream: Upstream, chat: Chat):
    answer = faulty.response(b"plain", headers=[("Content-Encoding", "Identity")])
    async with faulty.serving(faulty.replying(answer)) as server:
        assert await read(upstream, chat(server.origin)) == b"plain"


async def test_what_is_told_holds_no_credential(upstream: Upstream, chat: Chat):
    origins = [f"http://user:canary@127.0.0.1:{faulty.refusing_port()}"]
    async with faulty.serving(faulty.cutting(b"HTTP/1.1 200 OK\r\n")) as server:
        origins.append(server.origin)
        for origin in origins:
            with pytest.raises(ProviderError) as failure:
                await read(upstream, chat(origin))
            cause: BaseException | None = failure.value
            while cause is not None:
                assert "canary" not in str(cause)
                cause = cause.__cause__


async def test_it_is_known_whether_anything_was_sent(upstream: Upstream, chat: Chat):
    async with faulty.serving(faulty.cutting(b"")) as server:
        for origin, sent in (
            (server.origin, True),
            (f"http://127.0.0.1:{faulty.refusing_port()}", False),
        ):
            sending = upstream.send(chat(origin), public=False)
            assert not sending.sent
            with pytest.raises(ProviderError):
                await sending.__aenter__()
            assert sending.sent is sent


async def test_who_leaves_before_there_is_a_connection_has_sent_nothing(
    engine: MakeEngine, chat: Chat
):
    upstream = Upstream(engine(UpstreamSettings(max_connections=1)), UpstreamSettings())
    loop = asyncio.get_running_loop()
    async with faulty.serving(faulty.hanging) as server:
        told = []
        for origin in (server.origin.replace("http:", "https:"), server.origin, server.origin):
            sending = upstream.send(chat(origin), public=False)
            task = loop.create_task(sending.__aenter__())
            await asyncio.wait((task,), timeout=0.1)
            told.append((sending, task))
        for _, task in told:
            task.cancel()
        await asyncio.gather(*(task for _, task in told), return_exceptions=True)
        # One was greeting, one was there, and one waited for its place.
        assert [sending.sent for sending, _ in told] == [False, True, False]
        await upstream.aclose()


async def test_closing_ends_what_is_under_way(engine: MakeEngine, chat: Chat):
    upstream = Upstream(engine(UpstreamSettings()), UpstreamSettings())
    async with faulty.serving(faulty.hanging) as server:
        task = asyncio.get_running_loop().create_task(read(upstream, chat(server.origin)))
        await server.until_live(1)
        await asyncio.sleep(0.01)
        await upstream.aclose()
        with pytest.raises(ProviderDisconnected):
            await task
        await server.until_live(0)
        with pytest.raises(ProviderUnreachable):
            await read(upstream, chat(server.origin))


def test_the_context_of_tls_may_be_given():
    context = ssl.create_default_context()
    assert RelayTransport(UpstreamSettings(), context=context)._context is context
