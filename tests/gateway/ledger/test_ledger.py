"""Rows wait in the process as long as they must, and reach the database exactly once."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.contract.errors import StoreUnavailable
from gateway.ledger.entry import Entry, entry_of, row_of
from gateway.ledger.ledger import OVERHEAD, Ledger
from gateway.ledger.settings import LedgerSettings
from gateway.ledger.writer import BATCH
from gateway.store.database import Database
from gateway.store.ledger import Chosen, rows
from gateway.store.ledger_rows import Row
from tests.support.ledger_rows import request_id
from tests.support.records import AT, record
from tests.support.simulator import eventually


def entry(number: int, **changes: Any) -> Entry:
    return entry_of(record(request_id=request_id(number), **changes))


def settings(**changes: Any) -> LedgerSettings:
    return LedgerSettings(**{"flush": 0.01, "close_timeout": 5.0, **changes})


async def kept(database: Database) -> list[Row]:
    async with database.reading() as connection:
        return (await rows(connection, Chosen(), limit=10_000))[::-1]


async def ids(database: Database) -> list[str]:
    return [each.request_id for each in await kept(database)]


@asynccontextmanager
async def outage(url: str) -> AsyncIterator[None]:
    """Nobody else can write to the ledger."""
    async with Database(url) as other, other.writing() as connection:
        if other.dialect == "postgresql":
            await connection.execute(text("LOCK TABLE ledger"))
        yield


async def until(true: Callable[[], bool]) -> None:
    await eventually(true, within=20)


async def test_a_row_is_written_soon_after_it_was_put(database: Database) -> None:
    async with Ledger(database, settings()) as ledger:
        ledger.put(entry(1))
        assert (ledger.queued, ledger.full) == (1, False)
        await until(lambda: ledger.queued == 0)
        assert await kept(database) == [row_of(bytes(entry(1)))]
        assert ledger.queued_bytes == 0


async def test_rows_that_come_together_are_written_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = 0
    original = Database.writing

    def counted(self: Database) -> Any:
        nonlocal transactions
        transactions += 1
        return original(self)

    monkeypatch.setattr(Database, "writing", counted)
    async with Ledger(database, settings(flush=60.0)) as ledger:
        for n in range(2 * BATCH + 1):
            ledger.put(entry(n))
        await until(lambda: ledger.queued <= 1)
        assert (transactions, ledger.queued) == (2, 1)
    assert transactions == 3
    assert ledger.counts.new == 2 * BATCH + 1


async def test_what_waits_is_written_on_closing(database: Database) -> None:
    async with Ledger(database, settings(flush=60.0)) as ledger:
        for n in range(3):
            ledger.put(entry(n))
    assert await ids(database) == [request_id(n) for n in range(3)]
    assert ledger.queued == 0


async def test_a_broken_entry_is_told_and_holds_up_nobody(database: Database) -> None:
    with capture_logs() as logs:
        async with Ledger(database, settings()) as ledger:
            for each in (entry(1), b"", b"{", b'{"request_id": "x"}', entry(2)):
                ledger.put(each)
    assert await ids(database) == [request_id(1), request_id(2)]
    assert ledger.counts.broken == 3
    assert [log["event"] for log in logs] == ["ledger_entry_broken"] * 3


async def test_rows_outwait_an_outage(database_url: str) -> None:
    async with Database(database_url, timeout=0.5) as database, Ledger(
        database, settings()
    ) as ledger:  # fmt: skip
        with capture_logs() as logs:
            async with outage(database_url):
                for n in range(20):
                    ledger.put(entry(n))
                await until(lambda: ledger.counts.failures >= 2)
                assert (ledger.queued, ledger.full) == (20, False)
            await until(lambda: ledger.queued == 0)
        assert await ids(database) == [request_id(n) for n in range(20)]
        assert ledger.counts.new == 20
    assert [log["event"] for log in logs] == ["ledger_store_unreachable", "ledger_store_reached"]


async def test_a_full_ledger_says_so_and_still_takes_rows(database_url: str) -> None:
    room = 3 * (entry(1).size + OVERHEAD)
    async with Database(database_url, timeout=0.5) as database, Ledger(
        database, settings(max_queue=room)
    ) as ledger:  # fmt: skip
        async with outage(database_url):
            for n, full in enumerate((False, False, True, True)):
                ledger.put(entry(n))
                assert ledger.full is full
        await until(lambda: not ledger.full)
        await ledger.flush(5.0)
        assert len(await ids(database)) == 4


async def test_rows_that_wait_for_long_make_the_ledger_lag(database_url: str) -> None:
    now = 0.0
    async with Database(database_url) as database:
        async with Ledger(database, settings(flush=60.0), clock=lambda: now) as ledger:
            assert (ledger.oldest, ledger.lagging) == (0.0, False)
            ledger.put(entry(1))
            now = 4.0
            assert (ledger.oldest, ledger.lagging) == (4.0, False)
            now = 6.0
            assert (ledger.oldest, ledger.lagging) == (6.0, True)
        assert not ledger.lagging


async def test_closing_in_an_outage_ends_in_time_and_tells_what_is_lost(database_url: str) -> None:
    async with Database(database_url, timeout=0.5) as database:
        closed_soon = settings(close_timeout=0.3)
        with capture_logs() as logs:
            async with outage(database_url), Ledger(database, closed_soon) as ledger:
                ledger.put(entry(1))
                ledger.put(entry(2))
        assert {"event": "ledger_rows_left", "rows": 2, "lost": 2, "log_level": "error"} in logs


async def test_what_was_spent_includes_rows_that_wait(database: Database) -> None:
    async with Ledger(database, settings(flush=60.0)) as ledger:
        for n in range(5):
            ledger.put(entry(n, cost=7))
        assert await ledger.spent("acme", "tenant:acme", "money", AT.date()) == 35
        assert await ledger.spent("acme", "tenant:acme", "requests", AT.date()) == 5
        tomorrow = AT.date() + timedelta(days=1)
        assert await ledger.spent("acme", "tenant:acme", "tokens", tomorrow) == 0
        without = await ledger.spent(
            "acme", "tenant:acme", "money", AT.date(), without=request_id(1)
        )
        assert without == 28


async def test_what_was_spent_is_not_told_while_rows_can_not_be_written(database_url: str) -> None:
    async with Database(database_url, timeout=0.5) as database, Ledger(
        database, settings()
    ) as ledger:  # fmt: skip
        async with outage(database_url):
            ledger.put(entry(1, cost=7))
            await until(lambda: ledger.counts.failures >= 1)
            async with asyncio.timeout(4.0):
                with pytest.raises(StoreUnavailable):
                    await ledger.spent("acme", "tenant:acme", "money", AT.date())
        await ledger.flush(10.0)
        assert await ledger.spent("acme", "tenant:acme", "money", AT.date()) == 7


async def test_a_writer_that_died_is_told_and_nothing_more_is_admitted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with capture_logs() as logs:
        async with Ledger(database, settings(close_timeout=0.5)) as ledger:
            monkeypatch.setattr(ledger._writer, "write", broken)
            ledger.put(entry(1))
            await until(lambda: ledger.full)
    assert logs[0]["event"] == "ledger_writer_died"


async def test_a_journal_is_empty_when_everything_is_written(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    async with Ledger(database, settings(journal=path)) as ledger:
        for n in range(50):
            ledger.put(entry(n))
    assert path.read_bytes() == b""
    assert len(await ids(database)) == 50


async def test_rows_left_in_an_outage_are_written_by_the_next_process(
    database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    async with Database(database_url, timeout=0.5) as database:
        closed_soon = settings(journal=path, close_timeout=0.3)
        with capture_logs() as logs:
            async with outage(database_url), Ledger(database, closed_soon) as ledger:
                for n in range(3):
                    ledger.put(entry(n))
        assert {"event": "ledger_rows_left", "rows": 3, "lost": 0, "log_level": "error"} in logs
        async with Ledger(database, settings(journal=path, flush=60.0)) as ledger:
            ledger.put(entry(3))
            assert await ledger.spent("acme", "tenant:acme", "requests", AT.date()) == 4
            assert await ids(database) == [request_id(n) for n in range(4)]
    assert path.read_bytes() == b""


async def test_a_journal_that_can_not_be_written_makes_the_ledger_full(
    database: Database, tmp_path: Path
) -> None:
    async with Ledger(database, settings(journal=tmp_path / "journal")) as ledger:
        assert not ledger.full
        assert ledger._keeper is not None
        ledger._keeper.failed = True
        assert ledger.full
        ledger.put(entry(1))
        await until(lambda: not ledger.full)


_CHILD = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from gateway.ledger.entry import entry_of
    from gateway.ledger.ledger import Ledger
    from gateway.ledger.settings import LedgerSettings
    from gateway.store.database import Database
    from tests.support.ledger_rows import request_id
    from tests.support.records import record

    async def main(url, journal, flush):
        settings = LedgerSettings(journal=Path(journal), flush=float(flush))
        async with Database(url) as database, Ledger(database, settings) as ledger:
            for n in range(1_000_000):
                ledger.put(entry_of(record(request_id=request_id(n), cost=n)))
                await asyncio.sleep(0.001)
                print(ledger._keeper.kept, flush=True)

    asyncio.run(main(*sys.argv[1:]))
""")


@pytest.mark.parametrize("flush", ["60", "0.05"], ids=["nothing written", "some written"])
async def test_no_row_that_reached_the_journal_is_lost_or_doubled_by_sigkill(
    flush: str, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CHILD, database_url, str(path), flush,
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    assert child.stdout is not None
    promised = 0
    while promised < 300:
        promised = int(await child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    promised = int(((await child.stdout.read()).split() or [b"%d" % promised])[-1])
    await child.wait()

    async with Database(database_url) as database, Ledger(
        database, settings(journal=path)
    ) as ledger:  # fmt: skip
        spent = await ledger.spent("acme", "tenant:acme", "money", AT.date())
        found = await kept(database)
        assert [each.request_id for each in found] == [request_id(n) for n in range(len(found))]
        assert len(found) >= promised
        assert spent == sum(range(len(found)))
