"""What a worker tells its supervisor: of itself alone."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.supervisor.answers import Answers, source_of, written
from gateway.supervisor.channel import Refused
from gateway.wiring.source import Source
from tests.support.application import CONFIG
from tests.support.reloading import Reloading, reloading
from tests.support.simulator import eventually

MORE = CONFIG + "http: {max_body: 7}\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Reloading]:
    async with reloading(tmp_path) as made:
        yield made


def answers(world: Reloading) -> Answers:
    return Answers(world.gateway.alone, world.gateway.reload)


async def test_it_tells_how_it_is_and_what_it_has_counted(world: Reloading) -> None:
    handlers = answers(world).handlers()

    assert await handlers["ready"]({}) == {"ready": True, "message": "taking requests"}
    assert (await handlers["health"]({}))["status"] == "ok"
    names = {each["name"] for each in (await handlers["metrics"]({}))["families"]}
    assert {"lockgate_requests", "lockgate_config_reloads", "lockgate_build"} <= names


async def test_it_reads_the_files_and_changes_nothing_until_it_is_told_to(
    world: Reloading,
) -> None:
    handlers, before = answers(world).handlers(), world.gateway.config
    world.write(MORE)

    told = await handlers["read"]({})
    world.write("nonsense")  # what was read is what is taken over
    staged = await handlers["stage"]({"source": told["source"]})
    assert world.gateway.config is before
    assert await handlers["commit"]({}) == {}

    assert staged["needs_restart"] == ("http.max_body",)
    assert world.gateway.config.http.max_body == 7
    assert world.gateway.reload.source.digest == told["digest"]
    with pytest.raises(Refused, match="Nothing was staged"):
        await handlers["commit"]({})


@pytest.mark.parametrize("step", ["read", "stage"])
async def test_files_that_can_not_be_used_are_refused_with_all_faults(
    world: Reloading, step: str
) -> None:
    text = "models: 1\nplans: 2\n"
    world.write(text)
    asked = {"source": written(Source({str(world.file): text.encode()}))}

    with pytest.raises(Refused) as refused:
        await answers(world).handlers()[step](asked)

    assert len(refused.value.reasons) >= 2
    assert world.gateway.reload.failures == 1


async def test_it_stops_once_however_often_it_was_told_to_drain(world: Reloading) -> None:
    stop, heard = answers(world).handlers()["stop"], list[int]()
    loop = asyncio.get_running_loop()

    def hear() -> None:
        heard.append(signal.SIGTERM)
        world.gateway.drain()

    loop.add_signal_handler(signal.SIGTERM, hear)
    try:
        for _ in range(3):
            await stop({"at_once": False})
            await eventually(lambda: bool(heard), within=10)
        assert len(heard) == 1
        await stop({"at_once": True})
        await eventually(lambda: len(heard) == 2, within=10)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def test_a_source_arrives_as_it_was_sent() -> None:
    source = Source({"a": bytes(range(256)), "b": b""})
    assert source_of(written(source)) == source
