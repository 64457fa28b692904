"""
The statements that write the ledger, given to the driver with whole batches.

Rows come by the thousand a second, and what SQLAlchemy does for each parameter of each row costs
more than the database does: so statements are compiled once, and values are brought here into the
form that the driver takes.

SQLite is given many rows in one statement. Its driver lets the interpreter go for each that it
runs, so that with a statement for each row its thread and the event loop's would wake one another
thousands of times a second, which costs several times what the rows do.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import ARRAY, Dialect, String, Table, any_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ClauseElement

from .ledger_rows import Writable
from .tables import attempts, ledger

BLOCK = 50
"""Rows in one statement of SQLite's: while it gets their values, the event loop waits for it."""

Values = tuple[object, ...]
"""Of one row, in the order of its table's columns."""

_EMPTY = "{}"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL that writes one row, and where it pays the same for `BLOCK` rows."""

    text: str
    block: str | None = None

    async def write(self, connection: AsyncConnection, rows: Sequence[Values]) -> None:
        """
        Write rows, which may be none.

        Raises:
            StatementError: one has a value that the driver can't take.
        """
        try:
            await self._write(connection, rows)
        except (OverflowError, ValueError) as error:  # SQLite's driver says so, and nobody wraps it
            raise self.refused(error) from error

    def refused(self, error: Exception) -> StatementError:
        """That a value is none for its column."""
        return StatementError(str(error), self.text, None, error)

    async def _write(self, connection: AsyncConnection, rows: Sequence[Values]) -> None:
        rest = 0
        if self.block is not None and len(rows) >= BLOCK:
            rest = len(rows) // BLOCK * BLOCK
            blocks = [_flat(rows[i : i + BLOCK]) for i in range(0, rest, BLOCK)]
            await connection.exec_driver_sql(self.block, blocks)
        if rest < len(rows):
            await connection.exec_driver_sql(self.text, list(rows[rest:]))


@dataclass(frozen=True, slots=True)
class Inserts:
    """What is asked and written, for one kind of database."""

    known: str
    row: Statement
    attempt: Statement
    ids: Callable[[Sequence[str]], object]
    times: Callable[[datetime], tuple[object, object]]
    """An instant in UTC and its day."""

    async def look_up(
        self, connection: AsyncConnection, request_ids: Sequence[str]
    ) -> dict[str, bool]:
        """Which of them have a row, and whether it is a provisional one."""
        found = await connection.exec_driver_sql(self.known, (self.ids(request_ids),))
        return {each.request_id: bool(each.provisional) for each in found}

    async def rows(self, connection: AsyncConnection, rows: Iterable[Writable]) -> None:
        """
        Write those that are not there yet. A final one takes the place of a provisional one.

        Raises:
            StatementError: a row has a value that no column takes; none is to be kept.
        """
        try:
            values = [self._values(row.columns()) for row in rows]
        except (TypeError, ValueError) as error:
            raise self.row.refused(error) from error
        await self.row.write(connection, values)

    async def attempts(self, connection: AsyncConnection, rows: Iterable[Writable]) -> None:
        """Write their attempts, each once."""
        tried = [each for row in rows for each in row.attempt_columns()]
        await self.attempt.write(connection, tried)

    def _values(self, columns: tuple[Any, ...]) -> Values:
        at, tags = columns[1], columns[-1]
        told = json.dumps(dict(tags)) if tags else _EMPTY
        return (columns[0], *self.times(_utc(at)), *columns[2:-1], told)


@cache
def inserts_for(dialect: str) -> Inserts:
    """Those for `sqlite` or `postgresql`."""
    return _for_sqlite() if dialect == "sqlite" else _for_postgresql()


def _for_sqlite() -> Inserts:
    dialect = sqlite.aiosqlite.dialect()
    given = func.json_each(bindparam("ids", type_=String)).table_valued("value")
    known = _known.where(ledger.c.request_id.in_(select(given.c.value)))
    row, attempt = _statements(sqlite.insert)
    return Inserts(
        known=_compiled(known, dialect),
        row=_in_blocks(_compiled(row, dialect)),
        attempt=_in_blocks(_compiled(attempt, dialect)),
        ids=json.dumps,
        times=_sqlite_times,
    )


def _for_postgresql() -> Inserts:
    dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]  # has none there
    given = bindparam("ids", type_=ARRAY(String))
    row, attempt = _statements(postgresql.insert)
    return Inserts(
        known=_compiled(_known.where(ledger.c.request_id == any_(given)), dialect),
        row=Statement(_compiled(row, dialect)),
        attempt=Statement(_compiled(attempt, dialect)),
        ids=list,
        times=_postgresql_times,
    )


_known = select(ledger.c.request_id, ledger.c.provisional)


def _statements(
    insert: Callable[[Table], sqlite.Insert | postgresql.Insert],
) -> tuple[sqlite.Insert | postgresql.Insert, sqlite.Insert | postgresql.Insert]:
    into = insert(ledger)
    row = into.on_conflict_do_update(
        index_elements=[ledger.c.request_id],
        set_={c.name: into.excluded[c.name] for c in ledger.c if not c.primary_key},
        where=ledger.c.provisional & ~into.excluded.provisional,
    )
    return row, insert(attempts).on_conflict_do_nothing()


def _compiled(statement: ClauseElement, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


def _in_blocks(text: str) -> Statement:
    begin = text.index("VALUES ") + len("VALUES ")
    end = text.index(")", begin) + 1
    many = ", ".join([text[begin:end]] * BLOCK)
    return Statement(text, text[:begin] + many + text[end:])


def _flat(rows: Iterable[Values]) -> Values:
    return tuple(chain.from_iterable(rows))


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is UTC:
        return instant
    if instant.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    return instant.astimezone(UTC)


def _sqlite_times(instant: datetime) -> tuple[object, object]:
    """As SQLAlchemy's own types for SQLite write them."""
    told = orjson.dumps(instant).decode()  # `isoformat` asks UTC for its offset, for twice the time
    day, time = told[1:11], told[12:27] if instant.microsecond else f"{told[12:20]}.000000"
    return f"{day} {time}", day


def _postgresql_times(instant: datetime) -> tuple[object, object]:
    return instant, instant.date()
