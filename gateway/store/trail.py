"""The audit log, read in pages: the latest row first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .tables import audit


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    The rows of which everything that is given holds. `since` is the first instant, `until` the
    first one after.
    """

    tenant: str | None = None
    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a WHERE over `audit`."""
        names = ("tenant", "actor", "action", "kind", "object")
        conditions = [
            audit.c[name] == value for name in names if (value := getattr(self, name)) is not None
        ]
        if self.since is not None:
            conditions.append(audit.c.at >= self.since)
        if self.until is not None:
            conditions.append(audit.c.at < self.until)
        return conditions


async def events(
    connection: AsyncConnection, wanted: Wanted, *, limit: int, before: int | None = None
) -> Sequence[RowMapping]:
    """The latest rows, so many at most; `before` is the number of a row that they precede."""
    chosen = select(audit).where(*wanted.conditions()).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(audit.c.seq < before)
    return (await connection.execute(chosen)).mappings().all()
