"""
Looking and changing: what every operation of administration works in.

    async with administration.reading(actor) as view:
        page = await tenants.list_tenants(view)
    async with administration.writing(actor) as change:
        await tenants.create_tenant(change, NewTenant(id="acme"))

A `Change` is one transaction: all that is done in it holds together, or nothing of it. Each
operation leaves exactly one audit row, which is also how every replica hears of it. Changes of
all replicas come one after the other, so what one has checked still holds when it commits.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..store.audit import AuditLog, Event
from ..store.database import Database
from ..store.tables import audit_head
from .actor import Actor, Role
from .configured import Configured
from .errors import NotFound
from .shapes import Json

Kind = Literal["plan", "tenant", "project", "key", "operator", "session", "config"]


@dataclass(frozen=True, slots=True)
class View:
    """What an actor sees. `now` is in UTC; `configured` is the file's part of it."""

    connection: AsyncConnection
    actor: Actor
    now: datetime
    configured: Configured
    audit: AuditLog = field(repr=False)

    def bound(self, tenant: str | None) -> str | None:
        """
        The tenant to whose rows the actor is held: the one that is asked for, or its own.

        Raises:
            NotFound: the one that is asked for is not the actor's to see.
        """
        if tenant is not None:
            self.seen(tenant, "tenant")
        return tenant or self.actor.tenant

    def seen(self, tenant: str, kind: Kind) -> None:
        """
        Hold the actor to what it sees, before anything of a tenant is looked up.

        Raises:
            NotFound: the tenant is not the actor's to see; nor is a `kind` in it.
        """
        if not self.actor.sees(tenant):
            raise NotFound(kind)


@dataclass(frozen=True, slots=True)
class Change(View):
    """A view in which things change."""

    async def record(
        self,
        action: str,
        kind: Kind,
        name: str,
        *,
        tenant: str | None = None,
        before: Json | None = None,
        after: Json | None = None,
    ) -> None:
        """Append the audit row of an operation; neither `before` nor `after` holds a secret."""
        event = Event(
            actor=self.actor.name,
            action=action,
            kind=kind,
            object=name,
            tenant=tenant,
            before=before,
            after=after,
        )
        await self.audit.append(self.connection, event)


def _nobody_waits() -> None:
    """What a command changes is read by others, in their own time."""


class Administration:
    """Opens views and changes over one database."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        *,
        configured: Callable[[], Configured],
        now: Callable[[], datetime],
        committed: Callable[[], None] = _nobody_waits,
    ) -> None:
        """`committed` is called after each change."""
        self.now = now
        self._committed = committed
        self._database = database
        self._audit = audit
        self._configured = configured

    @asynccontextmanager
    async def reading(self, actor: Actor) -> AsyncIterator[View]:
        """
        Raises:
            StoreUnavailable: the database is out of reach.
        """
        async with self._database.reading() as connection:
            yield View(connection, actor, self.now(), self._configured(), self._audit)

    @asynccontextmanager
    async def writing(self, actor: Actor, role: Role = Role.ADMIN) -> AsyncIterator[Change]:
        """
        One transaction, committed at the end of the block, undone if it raises.

        Raises:
            Forbidden: the actor has not the role that the change takes.
            StoreUnavailable: the database is out of reach; nothing was changed.
        """
        actor.require(role)
        async with self._database.writing() as connection:
            await connection.execute(select(audit_head.c.seq).with_for_update())
            yield Change(connection, actor, self.now(), self._configured(), self._audit)
        self._committed()
