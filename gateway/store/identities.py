"""
What authentication reads of the stored keys, and the little that it writes.

One query finds keys with their projects and tenants. What is written, when a key was last used and
its digest under another pepper, is nothing that an administrator changes: no version counts it
and no audit row tells of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, bindparam, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .database import Database
from .tables import keys as _keys
from .tables import projects as _projects
from .tables import tenants as _tenants

AT_ONCE = 500
"""Values in one statement, well below what either database takes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A stored key and what stands above it.

    Lists of models are as they are kept: None is no list of its own, and nothing is narrowed yet.
    """

    public_id: str
    name: str
    digest: bytes = field(repr=False)
    pepper: str
    plan: str | None
    models: tuple[str, ...] | None
    scopes: tuple[str, ...]
    networks: tuple[str, ...]
    expires: datetime | None
    disabled: bool
    tenant: str
    tenant_plan: str
    tenant_models: tuple[str, ...]
    tenant_suspended: bool
    project: str | None = None
    project_plan: str | None = None
    project_models: tuple[str, ...] | None = None
    project_suspended: bool = False


Replacement = tuple[bytes, bytes, str]
"""The digest of a key, another for its place, and the name of the pepper that that is under."""


class Identities:
    """Reads and writes what authentication needs, in transactions of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, public_ids: Sequence[str]) -> dict[str, Identity]:
        """
        The keys of those public ids that there are; `AT_ONCE` at most.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        async with self._database.reading() as connection:
            rows = (await connection.execute(_FIND, {"of": public_ids})).all()
        found = [Identity(*[_frozen(value) for value in row]) for row in rows]
        return {each.public_id: each for each in found}

    async def peppers(self) -> frozenset[str]:
        """
        Names of the peppers that stored keys are under.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        async with self._database.reading() as connection:
            return frozenset(await connection.scalars(select(_keys.c.pepper).distinct()))

    async def ended(
        self,
        tenants: Collection[str],
        projects: Collection[tuple[str, str]],
        keys: Collection[str],
        now: datetime,
    ) -> tuple[frozenset[str], frozenset[tuple[str, str]], frozenset[str]]:
        """
        Those of them that no caller may use any more: that are gone, suspended, disabled or
        expired. A project is a tenant and an id.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        in_force = _keys.c.expires.is_(None) | (_keys.c.expires > now)
        async with self._database.reading() as connection:
            return (
                frozenset(tenants)
                - await _among(connection, (_tenants.c.id,), tenants, ~_tenants.c.suspended),
                frozenset(projects)
                - await _among(connection, _PROJECT, projects, ~_projects.c.suspended),
                frozenset(keys)
                - await _among(
                    connection, (_keys.c.public_id,), keys, ~_keys.c.disabled & in_force
                ),
            )

    async def write(
        self, used: Mapping[str, datetime], replaced: Mapping[str, Replacement]
    ) -> None:
        """
        Note when keys were last used, and put digests in the place of others; both by public id.

        A key that an administrator is changing at this moment is passed over: nobody waits for
        anybody. So is one whose digest is another by now, and a use that is not the latest.

        Raises:
            StoreUnavailable: the database is out of reach; nothing is known of what was written.
        """
        async with self._database.writing() as connection:
            free = await _locked(connection, {*used, *replaced})
            uses = [{"of": id_, "at": at} for id_, at in used.items() if id_ in free]
            if uses:
                await connection.execute(_USED, uses)
            digests = [
                {"of": id_, "old": old, "new": new, "under": pepper}
                for id_, (old, new, pepper) in replaced.items()
                if id_ in free
            ]
            if digests:
                await connection.execute(_REPLACED, digests)


_FIND = (
    select(  # in the order of Identity
        _keys.c.public_id,
        _keys.c.name,
        _keys.c.digest,
        _keys.c.pepper,
        _keys.c.plan,
        _keys.c.models,
        _keys.c.scopes,
        _keys.c.networks,
        _keys.c.expires,
        _keys.c.disabled,
        _keys.c.tenant,
        _tenants.c.plan.label("tenant_plan"),
        _tenants.c.models.label("tenant_models"),
        _tenants.c.suspended.label("tenant_suspended"),
        _keys.c.project,
        _projects.c.plan.label("project_plan"),
        _projects.c.models.label("project_models"),
        _projects.c.suspended.is_(True).label("project_suspended"),
    )
    .join(_tenants, _tenants.c.id == _keys.c.tenant)
    .outerjoin(
        _projects, (_projects.c.tenant == _keys.c.tenant) & (_projects.c.id == _keys.c.project)
    )
    .where(_keys.c.public_id.in_(bindparam("of", expanding=True)))
)

_USED = (
    update(_keys)
    .where(
        _keys.c.public_id == bindparam("of"),
        or_(_keys.c.last_used.is_(None), _keys.c.last_used < bindparam("at")),
    )
    .values(last_used=bindparam("at"))
)

_REPLACED = (
    update(_keys)
    .where(_keys.c.public_id == bindparam("of"), _keys.c.digest == bindparam("old"))
    .values(digest=bindparam("new"), pepper=bindparam("under"))
)


_PROJECT = (_projects.c.tenant, _projects.c.id)


async def _among(
    connection: AsyncConnection,
    name: tuple[Column[str], ...],
    values: Collection[Any],
    condition: ColumnElement[bool],
) -> set[Any]:
    """Those of the values that name a row which meets the condition."""
    found: set[Any] = set()
    compared = name[0] if len(name) == 1 else tuple_(*name)
    for some in _portions(values):
        rows = await connection.execute(select(*name).where(condition, compared.in_(some)))
        found.update(tuple(row) if len(name) > 1 else row[0] for row in rows)
    return found


async def _locked(connection: AsyncConnection, public_ids: Collection[str]) -> set[str]:
    """Those of the keys that nobody else is changing, from now on ours until the commit."""
    chosen = select(_keys.c.public_id).with_for_update(skip_locked=True)
    found: set[str] = set()
    for some in _portions(public_ids):
        found.update(await connection.scalars(chosen.where(_keys.c.public_id.in_(some))))
    return found


def _portions(values: Collection[Any]) -> Iterator[list[Any]]:
    """In one order for everybody."""
    ordered = sorted(values)
    return (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
