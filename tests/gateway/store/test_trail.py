from datetime import UTC, datetime, timedelta

import pytest

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.trail import Wanted, events

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def log(database: Database) -> Database:
    """Ten rows, a second between each and the next."""
    times = (START + timedelta(seconds=seconds) for seconds in range(10))
    audit = AuditLog.of(b"a secret of this test", now=lambda: next(times))
    async with database.writing() as connection:
        for number in range(10):
            event = Event(
                actor="olga" if number < 5 else "adam",
                action="create" if number % 2 else "delete",
                kind="key",
                object=f"key-{number}",
                tenant="acme" if number < 8 else None,
            )
            await audit.append(connection, event)
    return database


async def seqs(database: Database, wanted: Wanted, **page: int) -> list[int]:
    async with database.reading() as connection:
        found = await events(connection, wanted, **{"limit": 100, **page})
    return [row["seq"] for row in found]


async def test_the_latest_rows_come_first(log: Database) -> None:
    assert await seqs(log, Wanted()) == list(range(10, 0, -1))


async def test_a_page_goes_on_before_the_last_row_of_the_one_before(log: Database) -> None:
    assert await seqs(log, Wanted(), limit=3) == [10, 9, 8]
    assert await seqs(log, Wanted(), limit=3, before=8) == [7, 6, 5]
    assert await seqs(log, Wanted(), limit=3, before=1) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(tenant="acme"), [8, 7, 6, 5, 4, 3, 2, 1]),
        (Wanted(tenant="other"), []),
        (Wanted(actor="adam"), [10, 9, 8, 7, 6]),
        (Wanted(action="create", actor="olga"), [4, 2]),
        (Wanted(kind="plan"), []),
        (Wanted(kind="key", object="key-3"), [4]),
        (Wanted(since=START + timedelta(seconds=7)), [10, 9, 8]),
        (Wanted(until=START + timedelta(seconds=2)), [2, 1]),
    ],
)
async def test_rows_are_chosen_by_whatever_is_given(
    log: Database, wanted: Wanted, found: list[int]
) -> None:
    assert await seqs(log, wanted) == found
