"""A worker is a process of its own group, and none is left behind."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from gateway.supervisor.channel import Handler, Json, Refused
from gateway.supervisor.worker import environment, started
from tests.gateway.supervisor.conftest import SOON, Fakes
from tests.support.processes import ROOT


def fakes(folder: Path, **behaviour: object) -> Fakes:
    (folder / "behaviour.json").write_text(json.dumps(behaviour))
    return Fakes([], environment({"FOLDER": str(folder), "PYTHONPATH": str(ROOT)}))


def handlers(ready: asyncio.Event) -> dict[str, Handler]:
    async def begun(_: Json) -> None:
        ready.set()

    return {"started": begun}


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def command(tmp_path: Path) -> Fakes:
    return fakes(tmp_path)


async def test_it_is_asked_and_told_to_end(command: Fakes) -> None:
    ready = asyncio.Event()
    async with started(command, None, handlers(ready)) as worker:
        await asyncio.wait_for(ready.wait(), SOON)
        assert os.getpgid(worker.pid) == worker.pid
        assert (await worker.ask("ready")) == {"ready": True, "message": "taking requests"}
        assert [each["name"] for each in await worker.counted()] == ["lockgate_things"]
        worker.tell(signal.SIGTERM)
        assert await asyncio.wait_for(worker.ended(), SOON) == 0
        worker.tell(signal.SIGTERM)  # which nobody hears
        assert await worker.ask("ready") is None
        assert [each["name"] for each in await worker.counted()] == ["lockgate_things"]


async def test_one_that_is_left_is_killed(command: Fakes) -> None:
    ready = asyncio.Event()
    async with started(command, None, handlers(ready)) as worker:
        await asyncio.wait_for(ready.wait(), SOON)
        pid = worker.pid
    assert not is_there(pid)


async def test_one_that_refuses_says_so_and_one_that_is_silent_counts_as_gone(
    tmp_path: Path,
) -> None:
    told = await asyncio.to_thread(fakes, tmp_path, refuse=["stage"], mute=["commit"])
    ready = asyncio.Event()
    async with started(told, None, handlers(ready)) as worker:
        await asyncio.wait_for(ready.wait(), SOON)
        with pytest.raises(Refused, match="stage is refused"):
            await worker.ask("stage")
        assert await worker.ask("commit", within=0.05) is None


def test_the_environment_is_this_process_s_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "1")
    made = environment({"CHANGED": "2", "NEW": "3"})
    assert (made["KEPT"], made["CHANGED"], made["NEW"]) == ("1", "2", "3")
    assert "CHANGED" not in repr(Fakes([], made))
