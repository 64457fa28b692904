"""
Administered objects as rows: one class for every table whose rows carry a version.

Nothing here decides anything. Who may change what, and that each change leaves its audit row, is
administration's business; the caller holds the transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    RowMapping,
    Table,
    and_,
    delete,
    insert,
    select,
    union,
    union_all,
    update,
)
from sqlalchemy import tuple_ as row_of
from sqlalchemy.ext.asyncio import AsyncConnection

from . import tables

Row = RowMapping
Identity = tuple[str, ...]
Condition = ColumnElement[bool]


class Objects:
    """
    The rows of one table. An identity is the values of the primary key, in its order; lists come
    in the order of `order`, which ends with what makes it unique.
    """

    def __init__(self, table: Table, order: Sequence[Column[Any]] = ()) -> None:
        self._table = table
        self._identity = tuple(table.primary_key.columns)
        self._order = tuple(order) or self._identity
        self.depth = len(self._order)
        """How many values make a place in the order."""

    async def find(self, connection: AsyncConnection, *identity: str) -> Row | None:
        """The row of that identity, None if there is none."""
        found = await connection.execute(select(self._table).where(self._is(identity)))
        return found.mappings().first()

    async def page(
        self,
        connection: AsyncConnection,
        *conditions: Condition,
        after: Identity | None = None,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """The rows that meet all conditions and come after that place, `limit` of them at most."""
        chosen = select(self._table).where(*conditions).order_by(*self._order).limit(limit)
        if after is not None:
            chosen = chosen.where(row_of(*self._order) > row_of(*after))
        return (await connection.execute(chosen)).mappings().all()

    def place(self, row: Row) -> Identity:
        """Where a row stands in the order: what `page` takes as `after`."""
        return tuple(str(row[column.name]) for column in self._order)

    async def exists(self, connection: AsyncConnection, *conditions: Condition) -> bool:
        """Whether any row meets all conditions."""
        chosen = select(*self._identity).where(*conditions).limit(1)
        return (await connection.execute(chosen)).first() is not None

    async def add(
        self, connection: AsyncConnection, values: Mapping[str, object], now: datetime
    ) -> Row:
        """A new row, of version 1."""
        kept = {**values, "version": 1, "created": now, "updated": now}
        added = await connection.execute(insert(self._table).values(kept).returning(self._table))
        row: Row = added.mappings().one()
        return row

    async def change(
        self,
        connection: AsyncConnection,
        identity: Identity,
        values: Mapping[str, object],
        now: datetime,
    ) -> Row:
        """The row with those values and the next version. It must exist."""
        table = self._table
        changed = await connection.execute(
            update(table)
            .where(self._is(identity))
            .values({**values, "version": table.c.version + 1, "updated": now})
            .returning(table)
        )
        row: Row = changed.mappings().one()
        return row

    async def remove(self, connection: AsyncConnection, *identity: str) -> None:
        """Take the row away, and with it what belongs to it."""
        await connection.execute(delete(self._table).where(self._is(identity)))

    def _is(self, identity: Identity) -> Condition:
        return and_(*(c == value for c, value in zip(self._identity, identity, strict=True)))


async def plans_of(connection: AsyncConnection, tenant: str) -> frozenset[str]:
    """The names of the plans that a tenant, its projects and its keys have."""
    held = (each.where(holder == tenant) for each, holder in _HELD)
    found = await connection.scalars(union(*held))
    return frozenset(name for name in found if name is not None)


async def uses_plan(connection: AsyncConnection, plan: str) -> bool:
    """Whether any tenant, project or key has the plan."""
    held = union_all(*(each for each, _ in _HELD)).subquery()
    chosen = select(held.c.plan).where(held.c.plan == plan).limit(1)
    return (await connection.execute(chosen)).first() is not None


_HELD = (
    (select(tables.tenants.c.plan), tables.tenants.c.id),
    (select(tables.projects.c.plan), tables.projects.c.tenant),
    (select(tables.keys.c.plan), tables.keys.c.tenant),
)

PLANS = Objects(tables.plans)
TENANTS = Objects(tables.tenants)
PROJECTS = Objects(tables.projects)
KEYS = Objects(tables.keys, (tables.keys.c.tenant, tables.keys.c.name, tables.keys.c.public_id))
OPERATORS = Objects(tables.operators)
