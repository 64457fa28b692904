import pytest

from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Engine, RelayTransport, Upstream, UpstreamSettings
from gateway.upstream.foreign import ForeignEngine
from gateway.wiring.transports import engine_of
from tests.support import faulty

KINDS = {"own": RelayTransport, "aiohttp": ForeignEngine, "httpx": ForeignEngine}


@pytest.fixture(params=KINDS)
def configured(request: pytest.FixtureRequest) -> UpstreamSettings:
    return UpstreamSettings.model_validate({"transport": request.param})


@pytest.fixture
def engine(configured: UpstreamSettings) -> Engine:
    """Loaded before a loop runs, as the gateway does it."""
    return engine_of(configured)


async def test_the_engine_is_the_one_that_is_configured(
    configured: UpstreamSettings, engine: Engine
) -> None:
    upstream = Upstream(engine, configured)
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        request = UpstreamRequest(server.origin, (), b"{}")
        async with upstream.send(request, public=False) as answer:
            assert await answer.read(9) == b"hello"
    await upstream.aclose()
    assert isinstance(engine, KINDS[configured.transport])
