import pytest

from gateway.contract.provider import UpstreamRequest
from gateway.upstream import RelayTransport, Upstream, UpstreamSettings
from gateway.upstream.foreign import ForeignEngine
from gateway.wiring.transports import engine_of
from tests.support import faulty


@pytest.mark.parametrize(
    ("name", "kind"),
    [("own", RelayTransport), ("aiohttp", ForeignEngine), ("httpx", ForeignEngine)],
)
async def test_the_engine_is_the_one_that_is_configured(name: str, kind: type) -> None:
    settings = UpstreamSettings.model_validate({"transport": name})
    engine = engine_of(settings)
    upstream = Upstream(engine, settings)
    async with faulty.serving(faulty.replying(faulty.response(b"hello"))) as server:
        request = UpstreamRequest(server.origin, (), b"{}")
        async with upstream.send(request, public=False) as answer:
            assert await answer.read(9) == b"hello"
    await upstream.aclose()
    assert isinstance(engine, kind)
