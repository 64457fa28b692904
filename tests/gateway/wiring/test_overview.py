from pathlib import Path

from tests.support.reloading import reloading


async def test_where_it_serves_alone_it_tells_of_itself(tmp_path: Path) -> None:
    async with reloading(tmp_path) as world:
        alone = world.gateway.alone
        assert (await alone.ready()).ready
        assert (await alone.health()).status == "ok"
        content, kind = await alone.metrics("application/openmetrics-text; version=1.0.0")
        assert content.endswith(b"# EOF\n")
        assert kind.startswith("application/openmetrics-text")
        world.gateway.drain()
        assert (await alone.health()).status == "draining"
        assert alone.status.is_draining
