"""A process that serves until it is told to end, and reloads when it is told to."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.server import bind
from gateway.wiring.running import listeners_of, serve_alone
from tests.support.application import CONFIG, TOKEN, built, logging_kept, settings
from tests.support.processes import ROOT
from tests.support.reloading import REGISTRY, loader
from tests.support.simulator import eventually

SETTLED = """
import gc, sys
from gateway.wiring.running import settle
settle()
print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0], sys.getswitchinterval() < 0.001)
"""
PRODUCTION = {
    "environment": "production",
    "key_pepper": "p" * 32,
    "admin_token": TOKEN,
    "jwt_secret": "j" * 32,
}


def test_the_collector_leaves_the_start_alone_and_other_threads_get_their_turn() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["True", "20000", "True"]


def test_each_application_has_its_socket(tmp_path: Path) -> None:
    alone, two = built(tmp_path), built(tmp_path, **PRODUCTION)
    with bind("127.0.0.1", 0) as data, bind("127.0.0.1", 0) as admin:
        (only,) = listeners_of(alone, [data])
        assert (only.app, only.socket) == (alone.data, data)
        pairs = [(each.app, each.socket) for each in listeners_of(two, [data, admin])]
        assert pairs == [(two.data, data), (two.admin, admin)]
        with pytest.raises(ValueError, match="argument"):
            listeners_of(two, [data])


async def test_a_hang_up_reloads_and_the_next_signal_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"

    def made() -> Gateway:
        file.write_text(CONFIG)
        read = loader(file)
        return Gateway(settings(tmp_path / "state"), REGISTRY, read, read.load())

    gateway = await asyncio.to_thread(made)
    ready = asyncio.Event()
    with logging_kept(), bind("127.0.0.1", 0) as bound:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_alone(gateway, listeners_of(gateway, [bound]), ready.set))
            await asyncio.wait_for(ready.wait(), 20)
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: gateway.reload.reloads == 1, within=20)
            os.kill(os.getpid(), signal.SIGTERM)
    assert gateway.reload.failures == 0
