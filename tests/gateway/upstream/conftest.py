"""Every test here runs on both loops: asyncio's own and uvloop, which production uses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from gateway.contract.provider import UpstreamRequest
from gateway.upstream import RelayTransport, Upstream, UpstreamSettings


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def transport() -> AsyncIterator[RelayTransport]:
    """With the defaults; on leaving, no connection is in use and nobody waits."""
    transport = RelayTransport(UpstreamSettings())
    yield transport
    assert transport.open == transport.idle
    assert transport.waiting == 0
    await transport.aclose()


@pytest.fixture
def upstream(transport: RelayTransport) -> Upstream:
    return Upstream(transport, UpstreamSettings())


@pytest.fixture
def chat() -> Callable[..., UpstreamRequest]:
    """A small request to an origin."""

    def made(origin: str, content: bytes = b'{"model": "m"}') -> UpstreamRequest:
        return UpstreamRequest(
            url=f"{origin}/v1/chat/completions",
            headers=((b"content-type", b"application/json"), (b"authorization", b"Bearer canary")),
            content=content,
        )

    return made
