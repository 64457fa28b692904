"""Rows go in exactly once, come out in pages and go when they are old, on both databases."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError

from gateway.store.database import Database
from gateway.store.ledger import Chosen, Cursor, Written, insert, prune, rows, tag
from gateway.store.ledger_rows import Row
from gateway.store.tables import attempts, ledger
from tests.support.ledger_rows import AT, provisional, request_id, row

A = request_id(1)


async def written(database: Database, *batch: Row) -> Written:
    async with database.writing() as connection:
        return await insert(connection, batch)


async def kept(database: Database, chosen: Chosen | None = None) -> list[Row]:
    async with database.reading() as connection:
        return await rows(connection, chosen or Chosen(), limit=10_000)


async def test_a_row_comes_back_as_it_went_in(database: Database) -> None:
    whole = row(project="web", tags={"team": "blé", "a.b": 'qu"ote'}, first_content_ms=80,
                client_request_id="client-7", error="x", cached_tokens=2**40, cost=2**53 - 1,
                at=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC))  # fmt: skip

    assert await written(database, whole) == (1, 0, 0)
    assert await kept(database) == [whole]


async def test_nothing_to_write_is_written_at_once(database: Database) -> None:
    assert await written(database) == (0, 0, 0)


async def test_a_row_that_is_written_again_changes_nothing(database: Database) -> None:
    first = row(cost=1)
    assert await written(database, first) == (1, 0, 0)

    assert await written(database, row(cost=2, attempts=())) == (0, 0, 1)
    assert await written(database, row(cost=3), row(cost=4)) == (0, 0, 1)
    assert await kept(database) == [first]


@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
@pytest.mark.parametrize("order", [*permutations("PPF"), *permutations("PF")], ids="".join)
async def test_a_final_row_is_what_remains_in_whatever_order_they_come(
    order: tuple[str, ...], together: bool, database: Database
) -> None:
    made = [row() if kind == "F" else provisional() for kind in order]

    if together:
        await written(database, *made)
    else:
        for each in made:
            await written(database, each)
    assert await kept(database) == [row()]


async def test_a_replaced_row_is_counted_as_such(database: Database) -> None:
    await written(database, provisional(request_id=A), provisional(request_id=request_id(2)))

    batch = [row(request_id=request_id(n)) for n in (1, 2, 3)]
    assert await written(database, *batch, row(request_id=A)) == (1, 2, 0)
    assert await written(database, *batch) == (0, 0, 3)


async def test_attempts_are_those_of_the_row_that_remains(database: Database) -> None:
    many = provisional(attempts=row().attempts * 2)
    await written(database, many)
    await written(database, row())

    async with database.reading() as connection:
        count = await connection.scalar(select(func.count()).select_from(attempts))
        stored = await connection.scalar(select(ledger.c.attempts))
    assert (count, stored) == (2, 2)


async def test_writers_of_the_same_rows_write_each_once(database: Database) -> None:
    finals = [row(request_id=request_id(n)) for n in range(200)]
    guesses = [provisional(request_id=request_id(n)) for n in range(200)]

    batches = [finals, guesses, finals[::-1], guesses[::-1]]
    done = await asyncio.gather(*(written(database, *batch) for batch in batches))
    assert sum(each.new for each in done) >= 200
    assert [each.request_id for each in await kept(database) if not each.provisional] == [
        request_id(n) for n in reversed(range(200))
    ]


async def test_a_batch_with_a_row_that_is_refused_is_not_written_at_all(database: Database) -> None:
    refused = row(request_id=A)
    object.__setattr__(refused, "model", None)

    with pytest.raises(IntegrityError):
        await written(database, row(), refused)
    assert await kept(database) == []


async def test_a_batch_takes_four_statements_at_most(database: Database) -> None:
    statements: list[str] = []
    batch = [row(request_id=request_id(n)) for n in range(500)]
    async with database.writing() as connection:
        event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda _, __, statement, *rest: statements.append(statement),
        )
        assert await insert(connection, batch) == (500, 0, 0)
        assert len(statements) == 3
        statements.clear()
        mixed = [*batch[:100], *(row(request_id=request_id(n)) for n in range(500, 600))]
        await insert(connection, mixed)
        assert len(statements) <= 4


async def test_pages_hold_every_row_once_the_latest_first(database: Database) -> None:
    made = [row(request_id=request_id(n), at=AT + timedelta(seconds=n // 3)) for n in range(20)]
    await written(database, *made)

    pages, after = [], None
    while True:
        async with database.reading() as connection:
            page = await rows(connection, Chosen(), limit=7, after=after)
        if not page:
            break
        pages.append(page)
        after = Cursor(page[-1].at, page[-1].request_id)
    assert [len(page) for page in pages] == [7, 7, 6]
    assert [each for page in pages for each in page] == made[::-1]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Chosen(), "abc"),
        (Chosen(tenant="acme"), "ab"),
        (Chosen(project="web"), "b"),
        (Chosen(key="otherotherot"), "c"),
        (Chosen(model="chat-large"), "c"),
        (Chosen(target="openai/gpt"), "b"),
        (Chosen(outcome="cut"), "a"),
        (Chosen(tags={"team": "x"}), "ab"),
        (Chosen(tags={"team": "x", "a.b c": "1"}), "b"),
        (Chosen(tags={"nobody": "x"}), ""),
        (Chosen(since=AT), "bc"),
        (Chosen(until=AT), "a"),
        (Chosen(since=AT, until=AT + timedelta(hours=1)), "b"),
    ],
    ids=str,
)
async def test_what_is_asked_for_is_what_is_given(
    chosen: Chosen, expected: str, database: Database
) -> None:
    await written(
        database,
        row(request_id="a", at=AT - timedelta(microseconds=1), outcome="cut", tags={"team": "x"}),
        row(request_id="b", project="web", target="openai/gpt", tags={"team": "x", "a.b c": "1"}),
        row(request_id="c", tenant="other", key="otherotherot", model="chat-large",
            at=AT + timedelta(hours=1)),
    )  # fmt: skip

    assert sorted(each.request_id for each in await kept(database, chosen)) == list(expected)


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", "a\x00"], ids=repr)
def test_no_tag_has_such_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no tag"):
        tag(name)


async def test_old_rows_go_with_their_attempts_the_oldest_first(database: Database) -> None:
    days = [datetime(2026, 3, n, tzinfo=UTC) for n in range(1, 6)]
    await written(database, *(row(request_id=request_id(n), at=at) for n, at in enumerate(days)))

    async with database.writing() as connection:
        assert await prune(connection, date(2026, 3, 4), limit=2) == 2
    assert [each.at.day for each in await kept(database)] == [5, 4, 3]
    async with database.writing() as connection:
        assert await prune(connection, date(2026, 3, 4), limit=2) == 1
        assert await prune(connection, date(2026, 3, 4), limit=2) == 0
        left = await connection.scalar(select(func.count()).select_from(attempts))
    assert [each.at.day for each in await kept(database)] == [5, 4]
    assert left == 4
