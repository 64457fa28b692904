"""A seat is filled again, and later each time that it falls empty at once."""

import asyncio
import errno
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from gateway.supervisor import seat
from tests.gateway.supervisor.conftest import Fakes, crew


async def test_a_worker_that_ends_is_replaced_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with crew(tmp_path, 1, source={"file": "eA=="}) as running:
        await running.until(lambda: bool(running.announced))
        for times in (1, 2):
            before = running.pids()
            os.kill(before[0], signal.SIGKILL)
            await running.until(
                lambda seen=before: running.pids() not in ([], seen) and running.all_ready()
            )
            assert running.supervisor._seats[0].restarts == times

    assert running.code == 0
    assert len(running.announced) == 1
    assert [source for _, source in running.events("born")] == [None, *[{"file": "eA=="}] * 2]
    assert "lockgate: worker 1 ended (signal 9); another starts in" in capsys.readouterr().err


async def test_the_waits_double_up_to_a_bound_and_begin_anew_after_a_worker_that_lasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seat, "LONGEST_WAIT", 0.5)
    async with crew(tmp_path, 1) as running:
        await running.until(lambda: bool(running.announced))
        one = running.supervisor._seats[0]
        for lasted in (0.0, 0.0, 0.0, 0.0, seat.STEADY, 0.0):
            await one._pause(3, lasted)

    told = capsys.readouterr().err.splitlines()
    waits = [float(line.rpartition(" in ")[2].split()[0]) for line in told]
    for wait, most in zip(waits, (0.2, 0.4, 0.5, 0.5, 0.2, 0.4), strict=True):
        assert most / 2 - 0.051 <= wait <= most + 0.051
    assert "(exit code 3)" in told[0]


async def test_a_crash_loop_after_the_start_goes_on_and_ends_when_told_to(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))
        running.behave({"die": 1})
        os.kill(running.pids()[1], signal.SIGKILL)
        await running.until(lambda: running.supervisor._seats[1].restarts >= 3)
        assert running.supervisor._seats[0].is_ready
        running.behave({})
        await running.until(running.all_ready)

    assert running.code == 0


async def test_a_seat_that_waits_is_not_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seat, "FIRST_WAIT", 1000.0)
    monkeypatch.setattr(seat, "LONGEST_WAIT", 1000.0)
    async with crew(tmp_path, 1) as running:
        await running.until(lambda: bool(running.announced))
        os.kill(running.pids()[0], signal.SIGKILL)
        await running.until(lambda: running.supervisor._seats[0].restarts == 1)
        await asyncio.sleep(0)
    assert running.code == 0


async def test_a_worker_that_the_system_has_no_room_for_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, refusals = Fakes.start, 2

    async def crowded(self: Fakes, control: socket.socket) -> asyncio.subprocess.Process:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise OSError(errno.EAGAIN, "no room for a process")
        return await start(self, control)

    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))
        other, lost = running.pids()
        monkeypatch.setattr(Fakes, "start", crowded)
        os.kill(lost, signal.SIGKILL)
        await running.until(lambda: running.supervisor._seats[1].restarts >= 2)
        await asyncio.wait_for(running.supervisor._nobody_starts(), 20)  # a reload gets its turn
        await running.until(lambda: refusals < 0 and running.all_ready())
        assert running.pids()[0] == other

    assert running.code == 0
    assert "lockgate: worker 2 can't be started: no room for a process" in capsys.readouterr().err


async def test_a_first_worker_that_the_system_has_no_room_for_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crowded(self: Fakes, control: socket.socket) -> asyncio.subprocess.Process:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(Fakes, "start", crowded)
    async with crew(tmp_path, 2) as running:
        await running.until(running.supervisor.stopping.is_set)

    assert running.code == 1


class _Unread:
    """Standard error whose reader is gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


async def test_nobody_need_read_what_is_said_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", _Unread())
            running.behave({"refuse": ["read"]})
            os.kill(os.getpid(), signal.SIGHUP)
            await running.until(lambda: running.supervisor._counts.failures == 1)
            before = running.pids()
            os.kill(before[0], signal.SIGKILL)
            await running.until(lambda: len(running.pids()) == 2 and running.pids()[0] != before[0])
            await running.until(running.all_ready)
        assert running.pids()[1] == before[1]

    assert running.code == 0
