"""
The statements that write the ledger, given to the driver with whole batches.

Rows come by the thousand a second, and what SQLAlchemy does for each parameter of each row costs
more than the database does: so values are brought here into the form that the driver takes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from .ledger_rows import Row
from .tables import attempts, ledger

_MAKE: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_EMPTY = "{}"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL, and the columns that its parameters are for, in their order."""

    text: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inserts:
    """What is written, for one kind of database."""

    keep: Statement
    replace: Statement
    attempt: Statement
    time: Callable[[datetime], object]
    day: Callable[[date], object]

    @classmethod
    def of(cls, dialect: Dialect) -> Self:
        """The statements for a connection's dialect."""
        into = _MAKE[dialect.name](ledger)
        replacing = into.on_conflict_do_update(
            index_elements=[ledger.c.request_id],
            set_={c.name: into.excluded[c.name] for c in ledger.c if not c.primary_key},
            where=ledger.c.provisional,
        )
        attempt = _MAKE[dialect.name](attempts).on_conflict_do_nothing()
        is_sqlite = dialect.name == "sqlite"
        return cls(
            keep=_compiled(into.on_conflict_do_nothing(), dialect),
            replace=_compiled(replacing, dialect),
            attempt=_compiled(attempt, dialect),
            time=_sqlite_time if is_sqlite else _as_it_is,
            day=date.isoformat if is_sqlite else _as_it_is,
        )

    async def rows(
        self, connection: AsyncConnection, rows: Sequence[Row], *, replace: bool
    ) -> None:
        """
        Write those that are not there yet; `replace`: or that are there provisionally.

        Raises:
            StatementError: a row has a value that no column takes; none was written.
        """
        if not rows:
            return
        statement = self.replace if replace else self.keep
        try:
            values = [self._values(row, statement.columns) for row in rows]
        except (TypeError, ValueError) as error:
            raise StatementError(str(error), statement.text, None, error) from error
        await connection.exec_driver_sql(statement.text, values)

    async def attempts(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Write their attempts, each once."""
        columns = self.attempt.columns
        values = []
        for row in rows:
            for number, each in enumerate(row.attempts, 1):
                found = each.columns(row.request_id, number)
                values.append(tuple([found[name] for name in columns]))
        if values:
            await connection.exec_driver_sql(self.attempt.text, values)

    def _values(self, row: Row, columns: Sequence[str]) -> tuple[object, ...]:
        made: dict[str, object] = {
            "at": self.time(_utc(row.at)),
            "day": self.day(row.day),
            "attempts": len(row.attempts),
            "tags": json.dumps(dict(row.tags)) if row.tags else _EMPTY,
        }
        return tuple([made[name] if name in made else getattr(row, name) for name in columns])


def _compiled(statement: sqlite.Insert | postgresql.Insert, dialect: Dialect) -> Statement:
    compiled = statement.compile(dialect=dialect)
    order = compiled.positiontup
    assert order is not None, "both drivers number their parameters"
    return Statement(str(compiled), tuple(order))


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    return instant.astimezone(UTC)


def _sqlite_time(instant: datetime) -> str:
    """As SQLAlchemy's own type for SQLite writes it."""
    return instant.strftime("%Y-%m-%d %H:%M:%S.%f")


def _as_it_is(value: object) -> object:
    return value
