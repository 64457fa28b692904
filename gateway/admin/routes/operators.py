"""`/admin/v1/operators`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from .. import operators
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
from ..operators import NewOperator, Operator, OperatorPatch
from ..route import AdminRoute
from ..shapes import TenantId


def operators_router(parts: Parts, gates: Gates) -> APIRouter:
    """Operators are owners' to see and to change."""
    router = APIRouter(prefix=f"{PREFIX}/operators", tags=["operators"], route_class=AdminRoute)
    admin, passwords = parts.administration, parts.passwords
    Owner = Annotated[Actor, Depends(gates.owner)]  # noqa: N806 - a type

    @router.get("", responses=refusals())
    async def list_operators(
        actor: Owner,
        page: Page,
        tenant: Annotated[TenantId | None, Query(description="Those of this tenant.")] = None,
    ) -> Listing[Operator]:
        async with admin.reading(actor) as view:
            return await operators.list_operators(view, page, tenant=tenant)

    @router.post("", status_code=201, responses=makes() | refusals(409, 413, 429))
    async def create_operator(actor: Owner, new: NewOperator, response: Response) -> Operator:
        password_hash = await passwords.hash(new.password)
        async with admin.writing(actor) as change:
            made = await operators.create_operator(change, new, password_hash)
        return located(response, made, "operators", made.name)

    @router.get("/{operator}", responses=shows() | refusals(404))
    async def get_operator(actor: Owner, operator: NamePath, response: Response) -> Operator:
        async with admin.reading(actor) as view:
            return tagged(response, await operators.get_operator(view, operator))

    @router.patch("/{operator}", responses=shows() | refusals(404, 412, 413, 428, 429))
    async def update_operator(
        actor: Owner,
        operator: NamePath,
        patch: OperatorPatch,
        match: Versions,
        response: Response,
    ) -> Operator:
        given = patch.password if "password" in patch.model_fields_set else None
        password_hash = None if given is None else await passwords.hash(given)
        async with admin.writing(actor) as change:
            changed = await operators.update_operator(
                change, operator, patch, match, password_hash=password_hash
            )
        return tagged(response, changed)

    @router.delete("/{operator}", status_code=204, responses=refusals(404, 412, 428))
    async def delete_operator(actor: Owner, operator: NamePath, match: Versions) -> None:
        async with admin.writing(actor) as change:
            await operators.delete_operator(change, operator, match)

    return router
