"""
Every test here runs on both loops, asyncio's own and uvloop, which production uses, and those that
ask for an engine with each that may be chosen: `own` on both loops, the others on uvloop.

What a library can not do is said where it is tested: `@pytest.mark.cannot(httpx="why")`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Engine, Upstream, UpstreamSettings
from tests.gateway.upstream.engines import ENGINES, MakeEngine


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cannot(engine=why): engines that can not do this")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not _is_wanted(item)]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


def _is_wanted(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None) and item.callspec.params
    if not parameters or "engine_name" not in parameters:
        return True
    on_uvloop = uvloop.new_event_loop in parameters.values()
    return parameters["engine_name"] == "own" or on_uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Of each engine that can do what is tested."""
    for mark in request.node.iter_markers("cannot"):
        if request.param in mark.kwargs:
            pytest.skip(f"{request.param}: {mark.kwargs[request.param]}")
    return request.param


@pytest.fixture
def engine(engine_name: str) -> MakeEngine:
    """How it is made: of settings, and optionally a `context` and a `dialler`."""
    return ENGINES[engine_name]


@pytest.fixture
async def transport(engine: MakeEngine) -> AsyncIterator[Engine]:
    """With the defaults; on leaving, no connection is in use and nobody waits."""
    transport = engine(UpstreamSettings())
    yield transport
    assert transport.open == transport.idle
    assert transport.waiting == 0
    await transport.aclose()


@pytest.fixture
def upstream(transport: Engine) -> Upstream:
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
