"""A worker that asks the supervisor about all of them, and misses it when it is gone."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gateway.admin.errors import ConfigRefused
from gateway.supervisor.answers import source_of, written
from gateway.supervisor.channel import Channel, Json, Refused
from gateway.supervisor.colleagues import Colleagues, WorkersUnavailable
from gateway.wiring.source import Source
from tests.support.reloading import Reloading, reloading
from tests.support.simulator import eventually

FAMILY = {
    "name": "lockgate_things",
    "type": "counter",
    "help": "Things.",
    "samples": [["lockgate_things_total", [["kind", "a"]], 3.0]],
}
HEALTH = {"status": "ok", "version": "1", "uptime": 1.0, "components": {}}


class Supervisor:
    """At the other end of the socket."""

    def __init__(self) -> None:
        self.started: list[Json] = []
        self.refuses = False

    def handlers(self) -> Any:
        async def reload(_: Json) -> Json:
            if self.refuses:
                raise Refused("a fault", "another")
            return {"digest": "d" * 64, "needs_restart": ["http.cors"]}

        async def started(told: Json) -> None:
            self.started.append(told)

        return {
            "metrics": self._told({"families": [FAMILY]}),
            "health": self._told(HEALTH),
            "ready": self._told({"ready": False, "message": "waiting for worker 2"}),
            "reload": reload,
            "started": started,
        }

    def _told(self, answer: Json) -> Any:
        async def told(_: Json) -> Json:
            return answer

        return told


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Reloading]:
    async with reloading(tmp_path) as made:
        yield made


async def test_it_tells_of_all_workers_what_the_supervisor_says(world: Reloading) -> None:
    control, other = socket.socketpair()
    supervisor, colleagues = Supervisor(), Colleagues(control)
    gateway = world.gateway
    async with (
        Channel(other, supervisor.handlers()),
        colleagues.present(gateway.alone, gateway.reload),
    ):
        assert (await colleagues.ready()).message == "waiting for worker 2"
        assert (await colleagues.health()).status == "ok"
        text, kind = await colleagues.metrics("")
        assert b'\nlockgate_things_total{kind="a"} 3.0\n' in text
        assert kind.startswith("text/plain")
        told = await colleagues.reload()
        assert (told.sha256, told.needs_restart) == ("d" * 64, ("http.cors",))
        supervisor.refuses = True
        with pytest.raises(ConfigRefused, match="a fault\nanother"):
            await colleagues.reload()


async def test_it_begins_when_it_listens_and_says_by_which_configuration(
    world: Reloading,
) -> None:
    control, other = socket.socketpair()
    supervisor, colleagues = Supervisor(), Colleagues(control)
    gateway = world.gateway
    async with (
        Channel(other, supervisor.handlers()) as channel,
        colleagues.present(gateway.alone, gateway.reload),
    ):
        assert (await channel.ask("ready", within=10))["ready"]
        assert supervisor.started == []
        colleagues.begin()
        await eventually(lambda: bool(supervisor.started), within=10)
        assert source_of(supervisor.started[0]["source"]) == gateway.reload.source


async def test_when_the_supervisor_is_gone_it_drains_once_and_says_so(world: Reloading) -> None:
    heard: list[int] = []
    loop = asyncio.get_running_loop()

    def hear() -> None:
        heard.append(signal.SIGTERM)
        world.gateway.drain()

    loop.add_signal_handler(signal.SIGTERM, hear)
    try:
        for _ in range(2):
            control, other = socket.socketpair()
            colleagues = Colleagues(control)
            gateway = world.gateway
            async with colleagues.present(gateway.alone, gateway.reload):
                other.close()
                await eventually(lambda: len(heard) == 1, within=10)
                assert not (await colleagues.ready()).ready
                with pytest.raises(WorkersUnavailable):
                    await colleagues.metrics("")
                await asyncio.sleep(0.05)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    assert heard == [signal.SIGTERM]  # a second one would cut what is on its way


async def test_however_many_ask_whether_all_are_ready_one_question_is_on_its_way(
    world: Reloading,
) -> None:
    """Anybody may ask a worker, and the supervisor of all must not be kept busy by it."""
    asked, release = 0, asyncio.Event()

    async def ready(_: Json) -> Json:
        nonlocal asked
        asked += 1
        await release.wait()
        return {"ready": True, "message": "taking requests"}

    control, other = socket.socketpair()
    colleagues = Colleagues(control)
    gateway = world.gateway
    async with (
        Channel(other, {"ready": ready}),
        colleagues.present(gateway.alone, gateway.reload),
    ):
        async with asyncio.TaskGroup() as tasks:
            impatient = tasks.create_task(colleagues.ready())
            others = [tasks.create_task(colleagues.ready()) for _ in range(100)]
            await eventually(lambda: asked == 1, within=10)
            impatient.cancel()
            await asyncio.sleep(0)
            release.set()
        assert all(other.result().ready for other in others)
        assert asked == 1
        assert (await colleagues.ready()).ready
        assert asked == 2


async def test_who_is_not_there_yet_can_not_be_asked() -> None:
    control, other = socket.socketpair()
    with control, other, pytest.raises(WorkersUnavailable):
        await Colleagues(control).health()


def test_the_first_line_is_what_the_others_have() -> None:
    large = Source({"a": os.urandom(300_000)})
    for source in (None, large):
        control, other = socket.socketpair()
        with control, other:
            line = json.dumps({"source": None if source is None else written(source)})
            sender = Thread(target=other.sendall, args=(line.encode() + b"\n",))
            sender.start()
            assert Colleagues(control).source() == source
            sender.join()


def test_a_supervisor_that_is_gone_before_it_has_said_anything_is_noticed() -> None:
    control, other = socket.socketpair()
    with control:
        other.sendall(b'{"sou')
        other.close()
        with pytest.raises(EOFError):
            Colleagues(control).source()
