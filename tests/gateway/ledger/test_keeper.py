"""Entries reach the journal off the loop, and wait while the disk refuses."""

import asyncio
import resource
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.ledger import keeper as module
from gateway.ledger.journal import Journal
from gateway.ledger.keeper import Keeper
from gateway.settings import StartRefused
from tests.support.simulator import eventually


async def reopened(path: Path) -> list[bytes]:
    journal = Journal(path)
    try:
        return await asyncio.to_thread(journal.open)
    finally:
        await asyncio.to_thread(journal.close)


async def until_kept(keeper: Keeper, number: int) -> None:
    await eventually(lambda: keeper.kept >= number, within=10)


async def test_entries_are_kept_soon_and_forgotten_when_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    keeper = Keeper(path)
    assert await keeper.open() == []
    for n in range(100):
        keeper.keep(b"%d" % n)
    await until_kept(keeper, 100)
    assert path.read_bytes().count(b"\n") == 100

    keeper.forget(100)
    await keeper.aclose(5.0)
    assert await reopened(path) == []


async def test_closing_keeps_what_waits(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "ledger")
    await keeper.open()
    for n in range(10):
        keeper.keep(b"%d" % n)
    keeper.forget(3)
    await keeper.aclose(5.0)

    assert await reopened(tmp_path / "ledger") == [b"%d" % n for n in range(10)]


async def test_entries_of_an_earlier_process_are_given_and_counted(tmp_path: Path) -> None:
    first = Keeper(tmp_path / "ledger")
    await first.open()
    first.keep(b"a")
    await first.aclose(5.0)

    second = Keeper(tmp_path / "ledger")
    assert await second.open() == [b"a"]
    second.keep(b"b")
    await until_kept(second, 2)
    second.forget(1)
    await second.aclose(5.0)
    assert await reopened(tmp_path / "ledger") == [b"b"]


async def test_a_full_disk_is_told_once_and_entries_wait_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    keeper = Keeper(tmp_path / "ledger")
    await keeper.open()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with capture_logs() as logs:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        try:
            for n in range(20):
                keeper.keep(b"%d" % n)
            await eventually(lambda: keeper.failed, within=10)
            await asyncio.sleep(0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        keeper.keep(b"20")
        await eventually(lambda: keeper.kept == 21 and not keeper.failed, within=10)
    assert [log["event"] for log in logs] == ["ledger_journal_failed", "ledger_journal_back"]
    await keeper.aclose(5.0)
    assert await reopened(tmp_path / "ledger") == [b"%d" % n for n in range(21)]


async def test_closing_waits_for_a_full_disk_no_longer_than_it_may(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "ledger")
    await keeper.open()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        keeper.keep(b"a")
        await keeper.aclose(0.05)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert keeper.kept == 0


async def test_a_file_that_another_process_has_is_refused(tmp_path: Path) -> None:
    first, second = Keeper(tmp_path / "ledger"), Keeper(tmp_path / "ledger")
    await first.open()

    with pytest.raises(StartRefused):
        await second.open()
    await second.aclose(1.0)
    await first.aclose(1.0)
