"""
The audit log: who changed what, and whether the log is as it was written.

An actor that is bound to a tenant sees the rows of that tenant. Only the whole log can be
verified, so that is for those who see all of it.
"""

import asyncio
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import structlog
from pydantic import Field
from sqlalchemy import RowMapping

from ..contract.errors import InvalidRequest, StoreUnavailable
from ..store.audit import Head, read_head
from ..store.database import Database
from ..store.trail import Wanted, events
from .actor import Role
from .administration import View
from .listing import Listing, Paging, cursor_of, place_of
from .shapes import Json, Shown

MAX_DIGITS = 18
"""Of the number of a row."""

_log = structlog.stdlib.get_logger("lockgate.admin")


class AuditEvent(Shown):
    """One change. `before` and `after` are what there was and what there is."""

    example: ClassVar[Json] = {
        "object": "audit_event",
        "seq": 7,
        "at": "2026-01-31T12:00:00Z",
        "actor": "anna",
        "action": "update",
        "kind": "key",
        "id": "8xT2mQ4vLp0Z",
        "tenant": "acme",
        "before": {"disabled": False},
        "after": {"disabled": True},
        "hash": "5e8f" * 16,
    }

    object: Literal["audit_event"] = "audit_event"
    seq: int
    at: datetime
    actor: str
    action: str
    kind: str
    id: str = Field(description="Of what was changed.")
    tenant: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    hash: str


class AuditVerdict(Shown):
    """Whether the log is sound. If not, `bad` is the number of the first row that is concerned."""

    example: ClassVar[Json] = {
        "object": "audit_verdict",
        "sound": True,
        "seq": 7,
        "hash": "5e8f" * 16,
    }

    object: Literal["audit_verdict"] = "audit_verdict"
    sound: bool
    seq: int = Field(description="The last sound row.")
    hash: str
    bad: int | None = None
    reason: str | None = None


async def list_events(
    view: View, paging: Paging, wanted: Wanted | None = None
) -> Listing[AuditEvent]:
    """
    A page of the rows that the actor sees, the latest first.

    Raises:
        NotFound: the tenant that is asked for is not the actor's to see.
        InvalidRequest: the place to go on from is none.
    """
    wanted = wanted or Wanted()
    bounded = replace(wanted, tenant=view.bound(wanted.tenant))
    before = None if paging.after is None else _seq_of(paging.after)
    rows = await events(view.connection, bounded, limit=paging.limit + 1, before=before)
    shown = [_shown(row) for row in rows[: paging.limit]]
    more = len(rows) > paging.limit
    return Listing(data=shown, next=cursor_of(str(shown[-1].seq)) if more else None)


async def verify_log(view: View, head: Head | None = None) -> AuditVerdict:
    """
    Read the whole log. `head` is one that was kept elsewhere: the log must still have it.

    Raises:
        Forbidden: the actor does not see all of it.
    """
    view.actor.require(Role.ADMIN, everywhere=True)
    verdict = await view.audit.verify(view.connection, head)
    return AuditVerdict(
        sound=verdict.bad is None,
        seq=verdict.head.seq,
        hash=verdict.head.hash,
        bad=verdict.bad,
        reason=verdict.reason or None,
    )


class AuditHead:
    """
    Tells the head of the audit log to the gateway's own log, while it is entered.

    Whoever cuts rows off the end of the log can set its head back; what was told elsewhere stays.
    `every` is in seconds. While the database is out of reach nothing is told.
    """

    def __init__(self, database: Database, *, every: float = 60.0) -> None:
        self._database = database
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def tell(self) -> None:
        """
        Raises:
            StoreUnavailable: the database is out of reach.
        """
        async with self._database.reading() as connection:
            head = await read_head(connection)
        _log.info("audit_head", seq=head.seq, hash=head.hash)

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._repeat())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _repeat(self) -> None:
        while True:
            try:
                await self.tell()
            except StoreUnavailable:
                _log.warning("audit_head_unknown")
            await asyncio.sleep(self._every)


def _shown(row: RowMapping) -> AuditEvent:
    return AuditEvent.model_validate({**row, "id": row["object"], "object": "audit_event"})


def _seq_of(cursor: str) -> int:
    (text,) = place_of(cursor, 1)
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise InvalidRequest("This is not the `next` of a page.", param="after")
    return int(text)
