"""A batch goes in whole or not at all, and what is refused holds up nobody else."""

from collections.abc import Sequence
from random import Random

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from gateway.contract.errors import StoreUnavailable
from gateway.ledger.writer import BATCH, Writer
from gateway.store.database import Database
from gateway.store.ledger import Chosen, Written, insert, rows
from gateway.store.ledger_rows import Row
from tests.support.ledger_rows import AT, provisional, request_id, row


def writer(database: Database) -> Writer:
    return Writer(database, "test", random=Random(1))


def refused(number: int, **changes: object) -> Row:
    """What no check lets through and no database takes."""
    made = row(request_id=request_id(number))
    for name, value in (changes or {"model": None}).items():
        object.__setattr__(made, name, value)
    return made


async def ids(database: Database) -> list[str]:
    async with database.reading() as connection:
        found = await rows(connection, Chosen(), limit=10_000)
    return sorted(each.request_id for each in found)


async def test_what_became_of_rows_is_counted(database: Database) -> None:
    at_work = writer(database)

    await at_work.write([provisional(request_id=request_id(1)), row(request_id=request_id(2))])
    await at_work.write([row(request_id=request_id(n)) for n in (1, 2, 3)])
    counts = at_work.counts
    assert (counts.new, counts.replaced, counts.duplicates, counts.broken) == (3, 1, 1, 0)


async def test_more_rows_than_a_batch_are_written_too(database: Database) -> None:
    at_work = writer(database)

    await at_work.write([row(request_id=request_id(n)) for n in range(BATCH + 20)])
    assert at_work.counts.new == BATCH + 20


async def test_68_a_slow_database_is_given_as_many_rows_as_it_can_write_in_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, tried = writer(database), []
    in_time = [7]

    async def insert_slowly(connection: AsyncConnection, some: Sequence[Row]) -> Written:
        known = {row.request_id for row in await rows(connection, Chosen(), limit=10_000)}
        new = [row for row in some if row.request_id not in known]
        tried.append(len(new))
        if len(new) > in_time[0]:
            raise StoreUnavailable
        return await insert(connection, some)

    monkeypatch.setattr("gateway.ledger.writer.insert", insert_slowly)
    wanted = [row(request_id=request_id(n)) for n in range(60)]
    for _ in range(30):
        try:
            await at_work.write(wanted)
        except StoreUnavailable:
            continue
        break
    assert await ids(database) == [request_id(n) for n in range(60)]
    assert at_work.counts.failures < 15

    in_time[0] = BATCH
    for n in range(100, 110):
        await at_work.write([row(request_id=request_id(n))])
    await at_work.write([row(request_id=request_id(n)) for n in range(1000, 1000 + BATCH)])
    assert tried[-1] == BATCH, "it is still given less than it could take"


@pytest.mark.parametrize(
    "fault",
    [
        {"model": None},
        {"tags": {"a": object()}},
        {"at": AT.replace(tzinfo=None)},
        {"cost": 2**70},
        {"tenant": "\ud800"},
        {"tenant": object()},
    ],
    ids=["null", "no JSON", "naive", "too large", "no UTF-8", "no value"],
)
async def test_a_row_that_is_refused_is_told_and_the_others_are_written(
    fault: dict[str, object], database: Database
) -> None:
    at_work = writer(database)
    batch = [row(request_id=request_id(n)) for n in range(10)]
    batch[3] = refused(3, **fault)

    with capture_logs() as logs:
        await at_work.write(batch)
    assert await ids(database) == [request_id(n) for n in range(10) if n != 3]
    assert (at_work.counts.new, at_work.counts.broken, at_work.counts.failures) == (9, 1, 0)
    [told] = [log for log in logs if log["event"] == "ledger_entry_broken"]
    assert request_id(3) in "".join(told["entry"])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_character_that_postgresql_can_not_keep_is_the_rows_fault(
    database: Database,
) -> None:
    at_work = writer(database)

    await at_work.write([refused(1, model="a\x00b"), refused(2, cost=2**70), row()])
    assert await ids(database) == [row().request_id]
    assert at_work.counts.broken == 2


async def test_a_missing_table_is_no_rows_fault(database: Database) -> None:
    at_work = writer(database)
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE ledger RENAME TO elsewhere"))

    with pytest.raises(StoreUnavailable):
        await at_work.write([row()])
    assert at_work.is_failing
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO ledger"))
    await at_work.write([row()])
    assert await ids(database) == [row().request_id]


async def test_an_outage_is_told_once_and_so_is_its_end(database_url: str) -> None:
    async with Database(database_url, timeout=0.5) as database, Database(database_url) as other:
        at_work = writer(database)
        with capture_logs() as logs:
            async with other.writing() as holder:
                if other.dialect == "postgresql":
                    await holder.execute(text("LOCK TABLE ledger"))
                for _ in range(3):
                    with pytest.raises(StoreUnavailable):
                        await at_work.write([row()])
            await at_work.write([row()])
    assert [log["event"] for log in logs] == ["ledger_store_unreachable", "ledger_store_reached"]
    assert (at_work.counts.failures, at_work.counts.new, at_work.is_failing) == (3, 1, False)


async def test_pauses_grow_to_seconds_and_are_not_those_of_the_next_process() -> None:
    slept: dict[int, list[float]] = {1: [], 2: []}
    async with Database("postgresql://nobody@/none?host=/nowhere") as database:
        for seed, pauses in slept.items():

            async def sleep(seconds: float, pauses: list[float] = pauses) -> None:
                pauses.append(seconds)

            at_work = Writer(database, "test", random=Random(seed), sleep=sleep)
            for _ in range(10):
                with pytest.raises(StoreUnavailable):
                    await at_work.write([row()])
                await at_work.pause()
    assert slept[1] != slept[2]
    for pauses in slept.values():
        assert pauses[0] < 0.3
        assert all(2.5 <= pause <= 5.0 for pause in pauses[-4:])
