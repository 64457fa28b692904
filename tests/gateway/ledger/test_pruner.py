"""Old rows go at night, a few at a time, and nothing else goes."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.contract.errors import StoreUnavailable
from gateway.ledger.pruner import AT_ONCE, Pruner
from gateway.ledger.settings import LedgerSettings
from gateway.store.database import Database
from gateway.store.ledger import Chosen, insert, rows
from tests.support.ledger_rows import request_id, row

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class Night:
    """A clock that a sleep moves, and nothing else; after `ends` it stands still."""

    def __init__(self, ends: datetime) -> None:
        self.now = NOW
        self.ends = ends
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        if self.now > self.ends:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


def pruner(database: Database, night: Night, **changes: object) -> Pruner:
    settings = LedgerSettings.model_validate({"retention": 40, **changes})
    return Pruner(database, settings, now=night, random=Random(1), sleep=night.sleep)


async def keep(database: Database, *ages: timedelta) -> None:
    async with database.writing() as connection:
        await insert(connection, [row(request_id=request_id(n), at=NOW - age)
                                  for n, age in enumerate(ages)])  # fmt: skip


async def left(database: Database) -> int:
    async with database.reading() as connection:
        return len(await rows(connection, Chosen(), limit=10_000))


async def test_a_row_is_kept_for_as_many_whole_days_as_is_said(database: Database) -> None:
    since_midnight = timedelta(hours=12, minutes=30)
    first_kept = timedelta(days=40) + since_midnight
    await keep(database, first_kept, first_kept + timedelta(microseconds=1), timedelta())

    at_work = pruner(database, Night(NOW + timedelta(days=1)))
    assert await at_work.prune() == 1
    assert await at_work.prune() == 0
    assert await left(database) == 2


async def test_many_rows_go_in_small_transactions_with_pauses(database: Database) -> None:
    await keep(database, *[timedelta(days=100)] * (2 * AT_ONCE + 7), timedelta())

    night = Night(NOW + timedelta(days=1))
    at_work = pruner(database, night)
    assert await at_work.prune() == 2 * AT_ONCE + 7
    assert len(night.slept) == 3
    assert (await left(database), at_work.removed) == (1, 2 * AT_ONCE + 7)


async def test_pruning_is_due_once_a_day_in_its_hour(database: Database) -> None:
    at_work = pruner(database, Night(NOW), prune_hour=3)
    in_hours = [at_work.due_in() / 3600 for _ in range(50)]
    assert all(14.5 <= hours <= 15.0 for hours in in_hours)
    assert len(set(in_hours)) > 1
    soon = pruner(database, Night(NOW), prune_hour=13)
    assert 0.5 <= soon.due_in() / 3600 <= 1.0


async def test_the_hour_that_has_begun_is_tomorrows(database: Database) -> None:
    at_work = pruner(database, Night(NOW), prune_hour=12)

    assert 23.5 <= at_work.due_in() / 3600 <= 24.0


async def test_a_process_prunes_every_night(database: Database) -> None:
    await keep(database, timedelta(days=100), timedelta(days=39), timedelta(days=38), timedelta())

    night = Night(NOW + timedelta(days=2, hours=20))
    with capture_logs() as logs:
        async with pruner(database, night) as at_work:
            async with asyncio.timeout(20):
                while night.now <= night.ends:  # noqa: ASYNC110 - it is moved by sleeping only
                    await asyncio.sleep(0.01)
    told = [log["rows"] for log in logs if log["event"] == "ledger_pruned"]
    assert told == [1, 1, 1]
    assert (at_work.removed, await left(database)) == (3, 1)


async def test_an_outage_at_night_is_waited_for(database_url: str) -> None:
    async with Database(database_url, timeout=0.5) as database, Database(database_url) as other:
        await keep(database, timedelta(days=100))
        night = Night(NOW + timedelta(hours=20))
        at_work = pruner(database, night)
        async with other.writing() as holder:
            if other.dialect == "postgresql":
                await holder.execute(text("LOCK TABLE ledger"))
            with pytest.raises(StoreUnavailable):
                await at_work.prune()
            async with at_work:
                async with asyncio.timeout(20):
                    while 60.0 not in night.slept:  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.01)
        assert await at_work.prune() == 1
