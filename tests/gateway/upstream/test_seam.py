"""Transports of httpx's in place of ours."""

from collections.abc import Callable

import httpx
import respx

from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Upstream, UpstreamSettings
from gateway.upstream.seam import MAX_URLS, Adapted

Chat = Callable[..., UpstreamRequest]


async def read(upstream: Upstream, request: UpstreamRequest, limit: int = 1 << 20) -> bytes:
    async with upstream.send(request, public=False) as answer:
        return await answer.read(limit)


async def test_a_url_is_parsed_once_and_the_memory_of_urls_is_bounded(chat: Chat):
    seen: list[httpx.URL] = []

    def answers(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, content=b"{}")

    upstream = Upstream(httpx.MockTransport(answers), UpstreamSettings())
    adapted = upstream._transport
    assert isinstance(adapted, Adapted)
    for number in range(MAX_URLS + 10):
        await read(upstream, chat(f"http://a{number}"))
    assert len(seen) == MAX_URLS + 10
    assert len(adapted._urls) <= MAX_URLS
    before = dict(adapted._urls)
    await read(upstream, chat(f"http://a{MAX_URLS + 9}"))
    assert adapted._urls == before


async def test_respx_may_stand_where_the_sockets_are(chat: Chat):
    router = respx.MockRouter(assert_all_called=True)
    route = router.post("http://a/v1/chat/completions").mock(
        return_value=httpx.Response(200, json={"ok": True})
    )
    upstream = Upstream(httpx.MockTransport(router.async_handler), UpstreamSettings())
    assert await read(upstream, chat("http://a")) == b'{"ok":true}'
    sent = route.calls.last.request
    assert sent.content == b'{"model": "m"}'
    assert sent.headers["accept-encoding"] == "identity"
    await upstream.aclose()
