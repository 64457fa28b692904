"""What the driver is given is what SQLAlchemy would have given it."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from gateway.store.database import Database
from gateway.store.inserts import BLOCK, inserts_for
from gateway.store.ledger import Chosen, rows
from gateway.store.ledger_rows import Row
from gateway.store.tables import attempts, ledger
from tests.support.ledger_rows import provisional, request_id, row

NOON = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)


async def write(database: Database, *written: Row) -> None:
    async with database.writing() as connection:
        inserts = inserts_for(connection.dialect.name)
        await inserts.rows(connection, written)
        await inserts.attempts(connection, written)


async def kept(database: Database) -> list[Row]:
    async with database.reading() as connection:
        return (await rows(connection, Chosen(), limit=1000))[::-1]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_statement_is_compiled_once(dialect: str) -> None:
    assert inserts_for(dialect) is inserts_for(dialect)


def test_every_column_is_written() -> None:
    assert len(row().columns()) == len(ledger.c) - 1, "the day follows from the time"
    assert [len(each) for each in row().attempt_columns()] == [len(attempts.c)] * 2


async def test_what_was_written_reads_back_the_same(database: Database) -> None:
    written = row(at=NOON, tags={"team": "search", "quoted": 'it\'s "so"'})
    await write(database, written)
    assert await kept(database) == [written]
    async with database.reading() as connection:
        found = (await connection.execute(ledger.select())).one()
    assert (found.day, found.attempts) == (date(2026, 3, 1), 2)


@given(st.datetimes(timezones=st.just(UTC)) | st.just(datetime(2026, 3, 1, tzinfo=UTC)))
def test_sqlite_has_instants_to_the_microsecond(at: datetime) -> None:
    text = at.isoformat(" ", "microseconds")
    assert inserts_for("sqlite").times(at) == (text.removesuffix("+00:00"), text[:10])


async def test_an_instant_is_written_in_utc(database: Database) -> None:
    east = datetime(2026, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    await write(database, row(at=east))
    async with database.reading() as connection:
        found = (await connection.execute(ledger.select())).one()
    assert (found.at, found.day) == (east, date(2026, 3, 1))


async def test_only_a_provisional_row_is_replaced(database: Database) -> None:
    guess, first, second = provisional(), row(cost=1), row(cost=2)
    for each in (guess, provisional(cost=5)):
        await write(database, each)
    assert await kept(database) == [guess]

    for each in (first, second, guess):
        await write(database, each)
    assert [(each.provisional, each.cost) for each in await kept(database)] == [(False, 1)]


@pytest.mark.parametrize("number", [BLOCK - 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 1])
async def test_however_many_there_are_each_is_written(database: Database, number: int) -> None:
    written = [row(request_id=request_id(n), cost=n) for n in range(number)]
    await write(database, *written)
    assert await kept(database) == written


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_sqlite_is_given_many_rows_in_one_statement(database: Database) -> None:
    ran: list[int] = []
    async with database.writing() as connection:
        event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda _, __, ___, parameters, *____: ran.append(len(parameters)),
        )
        written = [row(request_id=request_id(n), attempts=()) for n in range(4 * BLOCK + 3)]
        await inserts_for("sqlite").rows(connection, written)
        found = await connection.scalar(select(func.count()).select_from(ledger))
    assert (found, ran[:2]) == (len(written), [4, 3])


async def test_which_rows_are_there_is_told(database: Database) -> None:
    await write(database, row(request_id="a"), provisional(request_id="b"))
    async with database.reading() as connection:
        found = await inserts_for(connection.dialect.name).look_up(connection, ["a", "b", "c"])
    assert found == {"a": False, "b": True}


async def test_nothing_is_written_of_nothing(database: Database) -> None:
    await write(database)
    assert await kept(database) == []
