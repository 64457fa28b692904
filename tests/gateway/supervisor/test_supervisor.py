"""A supervisor speaks for all of its workers, and tells all of them the same."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gateway.supervisor import supervisor
from gateway.supervisor.channel import Refused
from tests.gateway.supervisor.conftest import crew

OLD, NEW = {"file": "b2xk"}, {"file": "bmV3"}


async def test_it_is_announced_once_all_are_ready_and_ends_with_the_last(tmp_path: Path) -> None:
    async with crew(tmp_path, 3, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        assert running.all_ready()
        assert len(running.announced) == 1

    assert running.code == 0
    assert len(running.events("told")) == 3


async def test_the_first_signal_drains_and_the_second_cuts(tmp_path: Path) -> None:
    async with crew(tmp_path, 2, linger=True) as running:
        await running.until(lambda: bool(running.announced))
        os.kill(os.getpid(), signal.SIGTERM)
        await running.until(lambda: len(running.events("stop")) == 2)
        os.kill(os.getpid(), signal.SIGINT)
        await running.until(lambda: len(running.events("stop")) == 4)

    assert [at_once for _, at_once in running.events("stop")] == [False, False, True, True]
    assert running.code == 0


async def test_one_that_does_not_even_hear_the_second_signal_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "CUT", 0.3)
    async with crew(tmp_path, 2, linger=True) as running:
        await running.until(lambda: bool(running.announced))
        os.kill(running.pids()[1], signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGTERM)
        await running.until(lambda: len(running.events("stop")) == 1)
        os.kill(os.getpid(), signal.SIGTERM)
        await running.until(lambda: running.pids() == [])

    assert running.code == 1


async def test_the_first_reads_the_configuration_and_all_others_are_given_it(
    tmp_path: Path,
) -> None:
    async with crew(tmp_path, 3, source=OLD) as running:
        await running.until(lambda: bool(running.announced))

    born = [source for _, source in running.events("born")]
    assert born == [None, OLD, OLD]


async def test_a_first_that_can_not_start_ends_it_with_its_exit_code(tmp_path: Path) -> None:
    async with crew(tmp_path, 3, die=2) as running:
        await running.until(running.supervisor.stopping.is_set)

    assert running.code == 2
    assert len(running.events("born")) == 1
    assert not running.announced


async def test_a_signal_while_workers_start_ends_them_all(tmp_path: Path) -> None:
    async with crew(tmp_path, 2, slow=30) as running:
        await running.until(lambda: bool(running.events("born")))

    assert running.code == 0
    assert len(running.events("born")) == 1


async def test_one_that_does_not_end_as_it_should_shows_in_the_exit_code(tmp_path: Path) -> None:
    async with crew(tmp_path, 2, end=5) as running:
        await running.until(lambda: bool(running.announced))

    assert running.code == 1


async def test_metrics_are_sums_and_what_a_worker_had_counted_outlives_it(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))

        async def told() -> dict[str, float]:
            families = (await running.asks("metrics"))["families"]
            samples = [sample for family in families for sample in family["samples"]]
            return {name: value for name, _, value in samples}

        first = await told()
        assert (first["lockgate_things_total"], first["lockgate_workers"]) == (2, 2)
        os.kill(running.pids()[0], signal.SIGKILL)
        await running.until(lambda: len(running.events("born")) == 3 and running.all_ready())
        later = await told()
        assert later["lockgate_things_total"] == 3
        assert later["lockgate_worker_restarts_total"] == 1


async def test_a_worker_that_does_not_answer_counts_with_what_it_last_said(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))
        await running.asks("metrics")
        running.behave({"refuse": ["metrics"]})
        told = await running.asks("metrics")

    [things] = [each for each in told["families"] if each["name"] == "lockgate_things"]
    assert things["samples"] == [["lockgate_things_total", (), 2.0]]


async def test_a_worker_that_ends_while_others_are_asked_is_counted_once(tmp_path: Path) -> None:
    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))
        lost, slow = running.pids()
        await running.asks("metrics")
        os.kill(slow, signal.SIGSTOP)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(running.asks("metrics"))
            await running.until(lambda: len(running.events("metrics")) == 3)
            os.kill(lost, signal.SIGKILL)
            await running.until(lambda: running.supervisor._seats[0].restarts == 1)
            os.kill(slow, signal.SIGCONT)

    [things] = [each for each in asked.result()["families"] if each["name"] == "lockgate_things"]
    assert things["samples"] == [["lockgate_things_total", (), 2.0]]


async def test_while_one_is_replaced_the_others_are_ready_and_health_says_so(
    tmp_path: Path,
) -> None:
    async with crew(tmp_path, 2) as running:
        await running.until(lambda: bool(running.announced))
        assert (await running.asks("ready"))["ready"]
        assert (await running.asks("health"))["status"] == "ok"

        running.behave({"slow": 1.0})
        lost = running.pids()[1]
        os.kill(lost, signal.SIGKILL)
        await running.until(lambda: lost not in running.pids())
        assert (await running.asks("ready"))["ready"]
        health = await running.asks("health")
        assert health["status"] == "degraded"
        assert health["components"]["worker 2"]["status"] == "down"
        await running.until(running.all_ready)
        assert (await running.asks("ready"))["ready"]
        os.kill(os.getpid(), signal.SIGTERM)
        await running.until(running.supervisor.stopping.is_set)
        assert (await running.asks("ready")) == {"ready": False, "message": "draining"}


# Reloads


async def test_a_reload_is_staged_by_all_before_anybody_takes_it_over(tmp_path: Path) -> None:
    async with crew(tmp_path, 3, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        running.behave({"source": NEW})

        told = await running.asks("reload")

        assert told == {"digest": "d", "needs_restart": ["limits.lease"]}
        assert [source for _, source in running.events("stage")] == [NEW] * 3
        assert len(running.events("read")) == 1
        assert {pid for pid, *_ in running.events("commit")} == set(running.pids())
        assert running.supervisor.source == NEW


@pytest.mark.parametrize("step", ["read", "stage"])
async def test_one_that_refuses_is_enough_for_nothing_to_change(tmp_path: Path, step: str) -> None:
    async with crew(tmp_path, 2, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        last = running.pids()[0 if step == "read" else 1]
        running.behave({str(last): {"refuse": [step]}, "source": NEW})

        with pytest.raises(Refused, match=f"{step} is refused"):
            await running.asks("reload")

        assert running.events("commit") == []
        assert running.supervisor.source == OLD
        told = (await running.asks("metrics"))["families"]
        counted = {name: value for each in told for name, _, value in each["samples"]}
        assert counted["lockgate_config_reload_failures_total"] == 1
        assert counted["lockgate_config_reloads_total"] == 0


@pytest.mark.usefixtures("quick")
async def test_one_that_can_not_take_over_is_replaced_by_one_that_has(tmp_path: Path) -> None:
    async with crew(tmp_path, 2, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        stuck = running.pids()[1]
        running.behave({str(stuck): {"mute": ["commit"]}, "source": NEW})

        await running.asks("reload")

        await running.until(lambda: stuck not in running.pids() and running.all_ready())
        assert running.events("born")[-1][1] == NEW


@pytest.mark.usefixtures("quick")
async def test_one_that_does_not_even_read_it_keeps_nobody_from_a_reload(tmp_path: Path) -> None:
    async with crew(tmp_path, 2, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        stuck = running.pids()[0]
        running.behave({str(stuck): {"mute": ["read", "stage", "commit"]}, "source": NEW})

        await running.asks("reload")

        await running.until(lambda: stuck not in running.pids() and running.all_ready())
        assert running.events("born")[-1][1] == NEW


async def test_a_reload_waits_for_workers_that_start_and_none_starts_meanwhile(
    tmp_path: Path,
) -> None:
    async with crew(tmp_path, 2, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        running.behave({"slow": 0.5, "source": NEW})
        os.kill(running.pids()[1], signal.SIGKILL)
        await running.until(lambda: len(running.events("born")) == 3)

        await running.asks("reload")

        assert running.events("born")[-1][1] == OLD
        assert {pid for pid, *_ in running.events("commit")} == set(running.pids())
        assert len(running.pids()) == 2


async def test_a_signal_reloads_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with crew(tmp_path, 2, source=OLD) as running:
        await running.until(lambda: bool(running.announced))
        running.behave({"source": NEW})
        os.kill(os.getpid(), signal.SIGHUP)
        await running.until(lambda: len(running.events("commit")) == 2)

        running.behave({"refuse": ["read"]})
        os.kill(os.getpid(), signal.SIGHUP)
        await running.until(lambda: running.supervisor._counts.failures == 1)
        await asyncio.sleep(0)
    assert "lockgate: read is refused" in capsys.readouterr().err
