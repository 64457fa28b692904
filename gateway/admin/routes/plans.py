"""`/admin/v1/plans`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from .. import plans
from ..actor import Actor
from ..deps import (
    PREFIX,
    Gates,
    NamePath,
    Page,
    Parts,
    Versions,
    located,
    makes,
    refusals,
    shows,
    tagged,
)
from ..listing import Listing
from ..plans import NewPlan, Plan, PlanPatch
from ..route import AdminRoute


def plans_router(parts: Parts, gates: Gates) -> APIRouter:
    """Plans are read by everyone who is signed in and changed by those whom no tenant bounds."""
    router = APIRouter(prefix=f"{PREFIX}/plans", tags=["plans"], route_class=AdminRoute)
    admin = parts.administration
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type
    Admin = Annotated[Actor, Depends(gates.admin_everywhere)]  # noqa: N806 - a type

    @router.get("", responses=refusals())
    async def list_plans(actor: Viewer, page: Page) -> Listing[Plan]:
        async with admin.reading(actor) as view:
            return await plans.list_plans(view, page)

    @router.post(
        "",
        status_code=201,
        responses=makes() | refusals(409, 413),
    )
    async def create_plan(actor: Admin, new: NewPlan, response: Response) -> Plan:
        async with admin.writing(actor) as change:
            plan = await plans.create_plan(change, new)
        return located(response, plan, "plans", plan.name)

    @router.get("/{plan}", responses=shows() | refusals(404))
    async def get_plan(actor: Viewer, plan: NamePath, response: Response) -> Plan:
        async with admin.reading(actor) as view:
            return tagged(response, await plans.get_plan(view, plan))

    @router.patch(
        "/{plan}",
        responses=shows() | refusals(404, 409, 412, 413, 428),
    )
    async def update_plan(
        actor: Admin, plan: NamePath, patch: PlanPatch, match: Versions, response: Response
    ) -> Plan:
        async with admin.writing(actor) as change:
            changed = await plans.update_plan(change, plan, patch, match)
        return tagged(response, changed)

    @router.delete("/{plan}", status_code=204, responses=refusals(404, 409, 412, 428))
    async def delete_plan(actor: Admin, plan: NamePath, match: Versions) -> None:
        async with admin.writing(actor) as change:
            await plans.delete_plan(change, plan, match)

    return router
