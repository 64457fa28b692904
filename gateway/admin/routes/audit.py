"""`/admin/v1/audit`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from ...contract.errors import InvalidRequest
from ...store.audit import Head
from ...store.trail import Wanted
from .. import audit
from ..actor import Actor
from ..audit import AuditEvent, AuditVerdict
from ..deps import PREFIX, Gates, Page, Parts, refusals
from ..listing import Listing
from ..route import AdminRoute
from ..shapes import Instant, TenantId, Text

Short = Annotated[Text | None, Query(max_length=100)]


def _wanted(  # noqa: PLR0913, PLR0917 - what may be asked for
    tenant: Annotated[TenantId | None, Query(description="Those about this tenant.")] = None,
    actor: Short = None,
    action: Short = None,
    kind: Short = None,
    id: Annotated[Text | None, Query(max_length=100, description="Of what was changed.")] = None,  # noqa: A002 - as rows call it
    since: Annotated[Instant | None, Query(description="The first instant.")] = None,
    until: Annotated[Instant | None, Query(description="The first instant after.")] = None,
) -> Wanted:
    return Wanted(tenant, actor, action, kind, id, since, until)


def _kept(
    seq: Annotated[
        int | None,
        Query(ge=0, le=10**audit.MAX_DIGITS, description="Of a head that was kept elsewhere."),
    ] = None,
    hash: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,  # noqa: A002 - as rows call it
) -> Head | None:
    if seq is None and hash is None:
        return None
    if seq is None or hash is None:
        missing = "seq" if seq is None else "hash"
        raise InvalidRequest("A head is a number and a hash.", param=missing)
    return Head(seq, hash)


def audit_router(parts: Parts, gates: Gates) -> APIRouter:
    """The log is read by everyone, each the own part, and written by what is done alone."""
    router = APIRouter(prefix=f"{PREFIX}/audit", tags=["audit"], route_class=AdminRoute)
    admin = parts.administration
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type
    Everywhere = Annotated[Actor, Depends(gates.admin_everywhere)]  # noqa: N806 - a type

    @router.get("", responses=refusals(404))
    async def list_events(
        actor: Viewer, page: Page, wanted: Annotated[Wanted, Depends(_wanted)]
    ) -> Listing[AuditEvent]:
        async with admin.reading(actor) as view:
            return await audit.list_events(view, page, wanted)

    @router.get("/verify", responses=refusals())
    async def verify_log(
        actor: Everywhere, kept: Annotated[Head | None, Depends(_kept)]
    ) -> AuditVerdict:
        """Read the whole log. With a head that was kept elsewhere, its end is checked as well."""
        async with admin.reading(actor) as view:
            return await audit.verify_log(view, kept)

    return router
