"""What the driver is given is what SQLAlchemy would have given it."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.database import Database
from gateway.store.inserts import Inserts
from gateway.store.ledger import Chosen, rows
from gateway.store.tables import attempts, ledger
from tests.support.ledger_rows import provisional, row

NOON = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.asyncpg.dialect()])
def test_every_column_is_written(dialect: sqlite.dialect) -> None:
    inserts = Inserts.of(dialect)

    assert set(inserts.keep.columns) == set(inserts.replace.columns) == set(ledger.c.keys())
    assert set(inserts.attempt.columns) == set(attempts.c.keys())


async def test_what_was_written_reads_back_the_same(database: Database) -> None:
    written = row(at=NOON, tags={"team": "search", "quoted": 'it\'s "so"'})
    async with database.writing() as connection:
        inserts = Inserts.of(connection.dialect)
        await inserts.rows(connection, [written], replace=True)
        await inserts.attempts(connection, [written])
    async with database.reading() as connection:
        assert await rows(connection, Chosen(), limit=2) == [written]
        day = (await connection.execute(ledger.select())).one().day
    assert day == date(2026, 3, 1)


async def test_only_a_provisional_row_is_replaced(database: Database) -> None:
    guess, first, second = provisional(), row(cost=1), row(cost=2)
    async with database.writing() as connection:
        inserts = Inserts.of(connection.dialect)
        await inserts.rows(connection, [guess], replace=False)
        for each in (first, second):
            await inserts.rows(connection, [each], replace=True)
        await inserts.rows(connection, [guess], replace=False)
    async with database.reading() as connection:
        [kept] = await rows(connection, Chosen(), limit=2)
    assert (kept.provisional, kept.cost) == (False, 1)


async def test_nothing_is_asked_for_nothing(database: Database) -> None:
    async with database.writing() as connection:
        inserts = Inserts.of(connection.dialect)
        await inserts.rows(connection, [], replace=True)
        await inserts.attempts(connection, [row(attempts=())])
    async with database.reading() as connection:
        assert await rows(connection, Chosen(), limit=2) == []
