"""The log is sound after any events, and unsound at the right row after any tampering."""

import asyncio
import hmac
import json
import string
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.audit import FORBIDDEN, START, AuditLog, Event, Head, Verdict, read_head
from gateway.store.database import Database
from gateway.store.tables import audit, audit_head

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOG = AuditLog.of(b"the process's own secret", now=lambda: AT)
THIEF = AuditLog.of(b"what a thief made up", now=lambda: AT)
ROWS = 6

WORDS = st.text(string.ascii_letters, min_size=1, max_size=16)
NAMES = st.text().filter(lambda name: name not in FORBIDDEN)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)
SAME_DATABASE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)


class _Undo(Exception):
    """Ends a transaction."""


def event(number: int, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "actor": "cli:ada",
        "action": "update",
        "kind": "tenant",
        "object": f"t{number}",
        "tenant": f"t{number}",
        "before": {"plan": "small", "limits": [1, 2.5, None]},
        "after": {"plan": f"large {number}"},
    }
    return Event(**fields | changes)


@pytest.fixture
async def log(database: Database) -> Database:
    """A database whose log has some rows."""
    async with database.writing() as connection:
        for number in range(ROWS):
            await LOG.append(connection, event(number, tenant=None if number == 2 else "t"))
    return database


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction that leaves no trace."""
    with suppress(_Undo):
        async with database.writing() as connection:
            yield connection
            await _undo()


async def _undo() -> None:
    raise _Undo


@asynccontextmanager
async def thief(database: Database) -> AsyncIterator[AsyncConnection]:
    """Who may do anything to the tables, in a transaction that is undone."""
    async with undone(database) as connection:
        for statement in UNSEAL[database.dialect]:
            await connection.execute(text(statement))
        yield connection


UNSEAL = {
    "sqlite": [
        "DROP TRIGGER audit_is_not_changed",
        "DROP TRIGGER audit_is_not_removed",
        "DROP TRIGGER audit_head_goes_forward",
        "DROP TRIGGER audit_head_is_not_removed",
    ],
    "postgresql": [
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "ALTER TABLE audit_head DISABLE TRIGGER ALL",
    ],
}


async def verified(database: Database, log: AuditLog = LOG) -> Verdict:
    async with database.reading() as connection:
        return await log.verify(connection)


async def test_an_empty_log_is_sound(database: Database) -> None:
    assert await verified(database) == Verdict(Head(0, START))


async def test_rows_are_numbered_in_the_order_of_their_commits(database: Database) -> None:
    async def append(number: int) -> None:
        async with database.writing() as connection:
            seq = await LOG.append(connection, event(number))
            await asyncio.sleep(0)
            highest = await connection.execute(select(func.max(audit.c.seq)))
            assert highest.scalar() == seq
            if number % 4 == 0:
                raise _Undo

    ended = await asyncio.gather(*map(append, range(20)), return_exceptions=True)

    assert sum(isinstance(end, _Undo) for end in ended) == 5
    verdict = await verified(database)
    assert (verdict.head.seq, verdict.bad) == (15, None)


async def test_the_head_is_that_of_the_last_row(log: Database) -> None:
    async with log.reading() as connection:
        head = await read_head(connection)
        assert await LOG.verify(connection, head) == Verdict(head)
        assert head.seq == ROWS


async def test_the_canonical_form_is_the_documented_one(database: Database) -> None:
    async with database.writing() as connection:
        log = AuditLog({"name": b"key"}, "name", now=lambda: AT)
        await log.append(connection, event(1, before=None, tenant="ü"))
        stored = (await connection.execute(select(audit.c.hash))).scalar_one()

    canonical = (
        rb'["lockgate audit 1",1,"2026-01-31T12:00:00.000000+00:00","cli:ada","update","tenant",'
        rb'"t1","\u00fc",null,{"plan":"large 1"},"name","' + START.encode() + b'"]'
    )
    assert stored == hmac.new(b"key", canonical, "sha256").hexdigest()


@SAME_DATABASE
@given(before=st.none() | OBJECTS, after=st.none() | OBJECTS)
async def test_any_json_verifies(
    database: Database, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    async with undone(database) as connection:
        await LOG.append(connection, event(1, before=before, after=after))
        assert (await LOG.verify(connection)).bad is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
async def test_what_is_no_json_is_refused_and_nothing_is_appended(
    database: Database, value: object
) -> None:
    async with database.writing() as connection:
        with pytest.raises((TypeError, ValueError)):
            await LOG.append(connection, event(1, after={"x": value}))

    assert await verified(database) == Verdict(Head(0, START))


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: {"a": it}, lambda it: {"a": [0, it]}])
def test_a_secret_is_refused_at_any_depth(name: str, wrap: Callable[[Any], Any]) -> None:
    for place in ("before", "after"):
        with pytest.raises(ValueError, match=name):
            event(1, **{place: wrap({name: "x"})})


def test_a_text_longer_than_its_column_is_refused() -> None:
    event(1, actor="a" * 100)
    with pytest.raises(ValueError, match="actor"):
        event(1, actor="a" * 101)


async def test_rows_under_an_older_secret_verify_while_it_is_known(log: Database) -> None:
    newer = AuditLog.of(b"new", b"the process's own secret", now=lambda: AT)
    async with log.writing() as connection:
        await newer.append(connection, event(9))

    assert (await verified(log, newer)).bad is None
    assert (await verified(log, LOG)).bad == ROWS + 1
    assert (await verified(log, AuditLog.of(b"new"))).bad == 1


# What a thief may do, as (seq of the first row concerned, the deed).
Deed = Callable[[AsyncConnection], Any]


@st.composite
def edits(draw: st.DrawFn) -> tuple[int, str, Any]:
    seq = draw(st.integers(1, ROWS))
    column = draw(st.sampled_from([c for c in audit.c if c.name not in {"seq", "at"}]))
    if column.name in {"before", "after"}:
        return seq, column.name, draw(st.none() | OBJECTS)
    return seq, column.name, draw(WORDS)


@SAME_DATABASE
@given(edit=edits())
async def test_an_edit_is_found_at_its_row(log: Database, edit: tuple[int, str, Any]) -> None:
    seq, column, value = edit
    async with thief(log) as connection:
        row = (await connection.execute(select(audit).where(audit.c.seq == seq))).mappings().one()
        assume(not _same(row[column], value))
        await connection.execute(update(audit).where(audit.c.seq == seq).values({column: value}))

        assert (await LOG.verify(connection)).bad == seq


def _same(one: object, other: object) -> bool:
    """1 and 1.0 and True are three values to JSON."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@SAME_DATABASE
@given(seq=st.integers(1, ROWS), microseconds=st.integers(1, 10**12))
async def test_another_time_is_found_at_its_row(log: Database, seq: int, microseconds: int) -> None:
    async with thief(log) as connection:
        other = AT + timedelta(microseconds=microseconds)
        await connection.execute(update(audit).where(audit.c.seq == seq).values(at=other))

        assert (await LOG.verify(connection)).bad == seq


@SAME_DATABASE
@given(gone=st.sets(st.integers(1, ROWS), min_size=1))
async def test_removed_rows_are_found_at_the_first(log: Database, gone: set[int]) -> None:
    async with thief(log) as connection:
        await connection.execute(delete(audit).where(audit.c.seq.in_(gone)))

        assert (await LOG.verify(connection)).bad == min(gone)


@SAME_DATABASE
@given(gone=st.integers(1, ROWS - 1))
async def test_a_removed_row_is_found_where_the_rest_is_moved_up(log: Database, gone: int) -> None:
    async with thief(log) as connection:
        await connection.execute(delete(audit).where(audit.c.seq == gone))
        for seq in range(gone + 1, ROWS + 1):
            await connection.execute(
                update(audit).where(audit.c.seq == seq).values(seq=audit.c.seq - 1)
            )
        await connection.execute(update(audit_head).values(seq=ROWS - 1))

        assert (await LOG.verify(connection)).bad == gone


@SAME_DATABASE
@given(order=st.permutations(range(1, ROWS + 1)))
async def test_reordered_rows_are_found_at_the_first(log: Database, order: list[int]) -> None:
    moved = [seq for seq, old in enumerate(order, 1) if seq != old]
    assume(moved)
    async with thief(log) as connection:
        for seq, old in enumerate(order, 1):
            await connection.execute(update(audit).where(audit.c.seq == old).values(seq=1000 + seq))
        await connection.execute(update(audit).values(seq=audit.c.seq - 1000))

        assert (await LOG.verify(connection)).bad == moved[0]


@SAME_DATABASE
@given(source=st.integers(1, ROWS))
async def test_a_row_appended_again_is_found(log: Database, source: int) -> None:
    async with thief(log) as connection:
        row = (await connection.execute(select(audit).where(audit.c.seq == source))).mappings()
        again = {**row.one(), "seq": ROWS + 1}
        await connection.execute(insert(audit).values(again))
        await connection.execute(update(audit_head).values(seq=ROWS + 1, hash=again["hash"]))

        assert (await LOG.verify(connection)).bad == ROWS + 1


@SAME_DATABASE
@given(left=st.integers(0, ROWS - 1))
async def test_a_tail_cut_off_is_found(log: Database, left: int) -> None:
    async with thief(log) as connection:
        await connection.execute(delete(audit).where(audit.c.seq > left))

        assert (await LOG.verify(connection)).bad == left + 1


@SAME_DATABASE
@given(left=st.integers(0, ROWS - 1), written=st.integers(0, ROWS))
async def test_a_tail_cut_off_with_the_head_set_back_is_found_by_a_kept_head(
    log: Database, left: int, written: int
) -> None:
    async with log.reading() as connection:
        kept = await read_head(connection)
    async with thief(log) as connection:
        await connection.execute(delete(audit).where(audit.c.seq > left))
        before = (
            await connection.execute(select(audit.c.hash).where(audit.c.seq == left))
        ).scalar()
        await connection.execute(update(audit_head).values(seq=left, hash=before or START))
        for number in range(written):  # by the gateway, which notices nothing
            await LOG.append(connection, event(100 + number))

        assert (await LOG.verify(connection)).bad is None
        long_enough = left + written >= ROWS
        found = await LOG.verify(connection, kept)
        assert found.bad == (ROWS if long_enough else left + written + 1)


async def test_a_row_without_the_secret_is_found(log: Database) -> None:
    async with thief(log) as connection:
        await THIEF.append(connection, event(9))

        assert (await LOG.verify(connection)).bad == ROWS + 1


@pytest.mark.parametrize(
    ("deed", "bad"),
    [
        ("DELETE FROM audit_head", ROWS + 1),
        ("UPDATE audit_head SET seq = 3", 4),
        ("UPDATE audit_head SET seq = 9", ROWS + 1),
        ("UPDATE audit_head SET hash = 'x'", ROWS),
        ("DELETE FROM audit", 1),
    ],
)
async def test_a_head_that_does_not_fit_is_found(log: Database, deed: str, bad: int) -> None:
    async with thief(log) as connection:
        await connection.execute(text(deed))

        assert (await LOG.verify(connection)).bad == bad


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "value",
    [
        "x'00ff'",
        "CAST(x'ff' AS TEXT)",
        "''",
        "'[1'",
        """'{"a":1,"a":2}'""",
        """'{"a":1e999}'""",
        "printf('%.*c', 100000, '[')",
        "7",
        "1e999",
    ],
)
@pytest.mark.parametrize("column", [c.name for c in audit.c])
async def test_what_sqlite_stores_in_spite_of_a_columns_type_is_found(
    log: Database, column: str, value: str
) -> None:
    async with thief(log) as connection:
        await connection.exec_driver_sql(f"UPDATE audit SET {column} = {value} WHERE seq = 3")

        assert (await LOG.verify(connection)).bad == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_head_that_is_no_number_is_found(log: Database) -> None:
    async with thief(log) as connection:
        await connection.execute(text("UPDATE audit_head SET seq = 'x'"))

        assert (await LOG.verify(connection)).bad == ROWS + 1


async def test_the_database_itself_refuses_what_it_can(log: Database) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        async with log.writing() as connection:
            await connection.execute(update(audit).values(actor="nobody"))

    assert (await verified(log)).bad is None
