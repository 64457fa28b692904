"""`/admin/v1/tenants`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from .. import erase, tenants
from ..actor import Actor
from ..deps import (
    PREFIX,
    Gates,
    Page,
    Parts,
    TenantPath,
    Versions,
    located,
    makes,
    refusals,
    shows,
    tagged,
)
from ..erase import Erased, Erasure
from ..listing import Listing
from ..route import AdminRoute
from ..shapes import Name
from ..tenants import NewTenant, Tenant, TenantPatch


def tenants_router(parts: Parts, gates: Gates) -> APIRouter:
    """Tenants are changed by those whom no tenant bounds, and erased by owners."""
    router = APIRouter(prefix=f"{PREFIX}/tenants", tags=["tenants"], route_class=AdminRoute)
    admin = parts.administration
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type
    Admin = Annotated[Actor, Depends(gates.admin)]  # noqa: N806 - a type
    Owner = Annotated[Actor, Depends(gates.owner)]  # noqa: N806 - a type
    Everywhere = Annotated[Actor, Depends(gates.admin_everywhere)]  # noqa: N806 - a type

    @router.get("", responses=refusals())
    async def list_tenants(
        actor: Viewer,
        page: Page,
        *,
        plan: Annotated[Name | None, Query(description="Those of this plan.")] = None,
        suspended: bool | None = None,
    ) -> Listing[Tenant]:
        async with admin.reading(actor) as view:
            return await tenants.list_tenants(view, page, plan=plan, suspended=suspended)

    @router.post(
        "",
        status_code=201,
        responses=makes() | refusals(409, 413),
    )
    async def create_tenant(actor: Everywhere, new: NewTenant, response: Response) -> Tenant:
        async with admin.writing(actor) as change:
            made = await tenants.create_tenant(change, new)
        return located(response, made, "tenants", made.id)

    @router.get("/{tenant}", responses=shows() | refusals(404))
    async def get_tenant(actor: Viewer, tenant: TenantPath, response: Response) -> Tenant:
        async with admin.reading(actor) as view:
            return tagged(response, await tenants.get_tenant(view, tenant))

    @router.patch(
        "/{tenant}",
        responses=shows() | refusals(404, 409, 412, 413, 428),
    )
    async def update_tenant(
        actor: Admin, tenant: TenantPath, patch: TenantPatch, match: Versions, response: Response
    ) -> Tenant:
        async with admin.writing(actor) as change:
            changed = await tenants.update_tenant(change, tenant, patch, match)
        return tagged(response, changed)

    @router.delete("/{tenant}", status_code=204, responses=refusals(404, 409, 412, 428))
    async def delete_tenant(actor: Admin, tenant: TenantPath, match: Versions) -> None:
        async with admin.writing(actor) as change:
            await tenants.delete_tenant(change, tenant, match)

    @router.post("/{tenant}/erase", responses=refusals(409, 413))
    async def erase_tenant(actor: Owner, tenant: TenantPath, erasure: Erasure) -> Erased:
        """Forget the tenant for good. What it cost stays in the ledger."""
        async with admin.writing(actor) as change:
            return await erase.erase_tenant(change, tenant, erasure)

    return router
