"""Workers that serve nothing, under a real supervisor."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.supervisor.seat import Chances
from gateway.supervisor.supervisor import Supervisor
from gateway.supervisor.worker import Command, environment
from tests.support.processes import ROOT
from tests.support.simulator import eventually

SOON = 20.0
"""Seconds, on a busy machine."""


class Fakes(Command):
    """Starts fake workers instead; `sockets` has none that anybody needs."""

    async def start(self, control: socket.socket) -> asyncio.subprocess.Process:
        """Start one that is controlled by that socket."""
        script = str(ROOT / "tests/support/fake_worker.py")
        return await asyncio.create_subprocess_exec(
            *(sys.executable, script, str(control.fileno()), self.environ["FOLDER"]),
            env=self.environ,
            pass_fds=[control.fileno()],
            process_group=0,
        )


@dataclass
class Crew:
    """A supervisor, its fake workers, and what the test knows of both."""

    folder: Path
    supervisor: Supervisor
    announced: list[float] = field(default_factory=list)
    code: int | None = None

    def behave(self, told: dict[str, Any]) -> None:
        """From now on."""
        draft = self.folder / "draft.json"
        draft.write_text(json.dumps(told))
        draft.replace(self.folder / "behaviour.json")

    def events(self, word: str) -> list[list[Any]]:
        """Those of one word, the first one first: the process, and what more there is."""
        file = self.folder / "events"
        lines = file.read_text().splitlines() if file.exists() else []
        read = (json.loads(line) for line in lines)
        return [[each[0], *each[2:]] for each in read if each[1] == word]

    def pids(self) -> list[int]:
        """Of the workers that are there, by seat."""
        return [seat.worker.pid for seat in self.supervisor._seats if seat.worker is not None]

    def all_ready(self) -> bool:
        return all(seat.is_ready for seat in self.supervisor._seats)

    async def asks(self, question: str) -> Any:
        """What a worker would be told."""
        handlers = self.supervisor.handlers(self.supervisor._seats[0])
        return await handlers[question]({})

    async def until(self, true: Callable[[], bool]) -> None:
        await eventually(true, within=SOON)


@asynccontextmanager
async def crew(folder: Path, count: int = 2, **told: Any) -> AsyncIterator[Crew]:
    """So many workers, on their way; told to end at the end, which they must."""
    environ = environment({"FOLDER": str(folder), "PYTHONPATH": str(ROOT)})
    chances = Chances(time.monotonic, Random(1))
    made: list[Crew] = []
    supervisor = Supervisor(
        count, Fakes([], environ), chances, lambda: made[0].announced.append(time.monotonic())
    )
    made.append(Crew(folder, supervisor))
    await asyncio.to_thread(made[0].behave, told)
    running = asyncio.get_running_loop().create_task(supervisor.run())
    try:
        yield made[0]
    finally:
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(SOON):
            made[0].code = await running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for workers that don't answer are over soon."""
    monkeypatch.setattr("gateway.supervisor.supervisor.COMMIT", 0.3)
    monkeypatch.setattr("gateway.supervisor.supervisor.STAGE", 0.3)
