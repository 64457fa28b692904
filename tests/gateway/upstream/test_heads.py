from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.contract.errors import (
    ProviderUnreachable,
)
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import RelayTransport, Upstream, UpstreamSettings, heads
from gateway.upstream.exchange import Header
from gateway.upstream.heads import beginning
from tests.support import faulty

Chat = Callable[..., UpstreamRequest]


async def read(upstream: Upstream, request: UpstreamRequest, limit: int = 1 << 20) -> bytes:
    async with upstream.send(request, public=False) as answer:
        return await answer.read(limit)


async def test_what_the_requests_of_a_target_share_is_prepared_once_and_its_memory_is_bounded(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
):
    transport = RelayTransport(UpstreamSettings())
    upstream = Upstream(transport, UpstreamSettings())
    prepared = 0

    def counted(*parts: Any) -> bytes:
        nonlocal prepared
        prepared += 1
        return beginning(*parts)

    monkeypatch.setattr(heads, "beginning", counted)
    monkeypatch.setattr("gateway.upstream.transport.MAX_ROUTES", 2)
    async with faulty.serving(faulty.replying(faulty.response(b"{}"))) as server:
        for number in range(9):
            request = chat(server.origin, b'{"n": %d}' % number)
            more = ((b"x-request-id", b"%d" % number),)
            async with upstream.send(request, public=False, headers=more) as answer:
                await answer.read(9)
        assert prepared == 1
        assert [each.body for each in server.requests] == [b'{"n": %d}' % n for n in range(9)]
        assert [each.headers["x-request-id"] for each in server.requests] == [*"012345678"]
        for number in range(9):
            await read(upstream, replace(chat(server.origin), headers=((b"a", b"%d" % number),)))
            assert len(transport._routes) <= 2
        assert [each.headers["a"] for each in server.requests[9:]] == [*"012345678"]
        assert server.accepted == 1
        await upstream.aclose()


@pytest.mark.parametrize("bad", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
async def test_48_no_header_is_more_than_a_line(upstream: Upstream, chat: Chat, bad: bytes):
    async with faulty.serving(faulty.hanging) as server:
        request = chat(server.origin)
        for header in ((bad, b"x"), (b"x", bad)):
            with pytest.raises(ProviderUnreachable):
                async with upstream.send(request, public=False, headers=(header,)):
                    pytest.fail("it was sent")
            with pytest.raises(ProviderUnreachable):
                await read(upstream, replace(request, headers=(header,)))
        assert server.accepted == 0


async def test_framing_is_ours_whatever_headers_say(upstream: Upstream, chat: Chat):
    theirs = ((b"Transfer-Encoding", b"chunked"), (b"content-length", b"99"))
    async with faulty.serving(faulty.replying(faulty.response(b"{}"))) as server:
        request = replace(chat(server.origin), headers=theirs)
        async with upstream.send(request, public=False, headers=theirs) as answer:
            assert await answer.read(9) == b"{}"
    assert server.requests[0].headers["content-length"] == "14"
    assert "transfer-encoding" not in server.requests[0].headers


URL = httpx.URL("http://up.example:81/v1?a=%20")


def test_a_beginning_is_the_request_line_and_headers_with_the_host():
    assert beginning("POST", URL, [(b"X-A", b"1"), (b"x-a", b"2")]) == (
        b"POST /v1?a=%20 HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nhost: up.example:81\r\n"
    )
    given: list[Header] = [(b"Host", b"other")]
    assert beginning("GET", URL, given) == b"GET /v1?a=%20 HTTP/1.1\r\nHost: other\r\n"


@pytest.mark.parametrize("method", ["", "post", "GET /evil HTTP/1.1\r\nx:", "A B"])
def test_a_method_that_is_none_makes_no_head(method: str):
    with pytest.raises(httpx.LocalProtocolError):
        beginning(method, URL, [])


def test_a_length_is_told_where_there_may_be_a_body():
    assert heads.end(12) == b"content-length: 12\r\n\r\n"
    assert heads.has_length("POST", b"")
    assert heads.has_length("GET", b"a")
    assert not heads.has_length("GET", b"")
