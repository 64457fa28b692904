"""
The ledger's rows in the database: in exactly once, out in pages, away when they are old.

A request has one row however often it is written, by however many processes at once. A final row
takes the place of a provisional one, never the other way round, and its attempts come with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from .inserts import inserts_for
from .ledger_rows import AttemptRow, Row, Writable
from .tables import attempts, ledger

_COLUMNS = [column.name for column in ledger.c if column.name not in {"day", "attempts"}]


class Written(NamedTuple):
    """What became of a batch: rows that are new, that replaced a provisional one, or neither."""

    new: int
    replaced: int
    duplicates: int


class Cursor(NamedTuple):
    """The last row of a page."""

    at: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """
    The rows of which everything that is given holds. `since` is the first instant, `until` the
    first one after.
    """

    tenant: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    target: str | None = None
    outcome: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a WHERE over `ledger`."""
        wanted = ("tenant", "project", "key", "model", "target", "outcome")
        conditions = [
            ledger.c[name] == value for name in wanted if (value := getattr(self, name)) is not None
        ]
        conditions += [tag(name) == value for name, value in self.tags.items()]
        if self.since is not None:
            conditions.append(ledger.c.at >= self.since)
        if self.until is not None:
            conditions.append(ledger.c.at < self.until)
        return conditions


def tag(name: str) -> ColumnElement[str | None]:
    """
    The value of a tag, NULL where a row has none by that name.

    Raises:
        ValueError: the name can not be that of a tag.
    """
    if not name or '"' in name or "\\" in name or not name.isprintable():
        raise ValueError(f"{name[:80]!r} is no tag")
    value: ColumnElement[str | None] = ledger.c.tags[name].as_string()
    return value


async def insert(connection: AsyncConnection, rows: Iterable[Writable]) -> Written:
    """
    Write rows, each once, within the caller's transaction. Best some hundreds at a time.

    What is counted is what this transaction saw before: of two processes that write a row at the
    same moment both may call it new.

    Raises:
        IntegrityError, DataError: a row is not to be written; nothing of the transaction is.
    """
    batch = _once_each(rows)
    if not batch:
        return Written(0, 0, 0)
    inserts = inserts_for(connection.dialect.name)
    # Of those that have a row, whether it is a provisional one.
    known = await inserts.look_up(connection, [row.request_id for row in batch])
    wanted = [
        row
        for row in batch
        if (stored := known.get(row.request_id)) is None or (stored and not row.provisional)
    ]
    await inserts.rows(connection, wanted)
    await inserts.attempts(connection, [row for row in wanted if not row.provisional])
    new = len(batch) - len(known)
    return Written(new, len(wanted) - new, len(batch) - len(wanted))


async def rows(
    connection: AsyncConnection, chosen: Chosen, *, limit: int, after: Cursor | None = None
) -> list[Row]:
    """A page of rows with their attempts, the latest first."""
    query = select(ledger).where(*chosen.conditions())
    if after is not None:
        query = query.where(tuple_(ledger.c.at, ledger.c.request_id) < after)
    query = query.order_by(ledger.c.at.desc(), ledger.c.request_id.desc()).limit(limit)
    found = (await connection.execute(query)).mappings().all()
    tries = await _attempts_of(connection, [each["request_id"] for each in found])
    return [
        Row(
            **{name: each[name] for name in _COLUMNS},
            attempts=tries.get(each["request_id"], ()),
        )
        for each in found
    ]


async def prune(connection: AsyncConnection, before: date, limit: int) -> int:
    """Remove the oldest rows of the days before one, so many at most; how many it were."""
    midnight = datetime(before.year, before.month, before.day, tzinfo=UTC)
    old = (
        select(ledger.c.request_id)
        .where(ledger.c.at < midnight)
        .order_by(ledger.c.at, ledger.c.request_id)
        .limit(limit)
    )
    found = (await connection.execute(old)).scalars().all()
    if found:
        await connection.execute(delete(attempts).where(attempts.c.request_id.in_(found)))
        await connection.execute(delete(ledger).where(ledger.c.request_id.in_(found)))
    return len(found)


def _once_each(rows: Iterable[Writable]) -> list[Writable]:
    """
    One row for each request, the first final one if there is any.

    In the order of their ids: two processes that write the same rows then wait for each other,
    where in any other order each could hold what the other needs.
    """
    best: dict[str, Writable] = {}
    for row in rows:
        known = best.get(row.request_id)
        if known is None or (known.provisional and not row.provisional):
            best[row.request_id] = row
    return [best[request_id] for request_id in sorted(best)]


async def _attempts_of(
    connection: AsyncConnection, request_ids: list[str]
) -> dict[str, tuple[AttemptRow, ...]]:
    if not request_ids:
        return {}
    query = (
        select(attempts)
        .where(attempts.c.request_id.in_(request_ids))
        .order_by(attempts.c.request_id, attempts.c.number)
    )
    found = (await connection.execute(query)).mappings()
    return {
        request_id: tuple(
            AttemptRow(**{k: v for k, v in each.items() if k not in {"request_id", "number"}})
            for each in group
        )
        for request_id, group in groupby(found, key=lambda each: each["request_id"])
    }
