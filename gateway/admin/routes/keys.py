"""`/admin/v1/tenants/{tenant}/keys`. Two answers show a key whole, and no cache may keep those."""

from typing import Annotated, ClassVar

from fastapi import APIRouter, Body, Depends, Query, Response
from pydantic import Field

from ...access import Issued
from .. import keys
from ..actor import Actor
from ..deps import (
    PREFIX,
    Gates,
    KeyPath,
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
from ..keys import KeyPatch, NewKey, Rotation, ShownKey, Verifier
from ..listing import Listing
from ..route import AdminRoute
from ..shapes import Json, ProjectId


class IssuedKey(ShownKey):
    """A new key, shown whole this once."""

    example: ClassVar[Json] = {
        **{name: each for name, each in ShownKey.example.items() if name != "last_used"},
        "key": "lg_8xT2mQ4vLp0Z_…",
    }

    key: str = Field(repr=False, description="The key itself. It is kept nowhere: store it now.")


def keys_router(parts: Parts, gates: Gates) -> APIRouter:
    """Keys are their tenant's own to change."""
    prefix = f"{PREFIX}/tenants/{{tenant}}/keys"
    router = APIRouter(prefix=prefix, tags=["keys"], route_class=AdminRoute)
    admin = parts.administration
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type
    Admin = Annotated[Actor, Depends(gates.admin)]  # noqa: N806 - a type

    @router.get("", responses=refusals(404))
    async def list_keys(
        actor: Viewer,
        tenant: TenantPath,
        page: Page,
        *,
        project: Annotated[ProjectId | None, Query(description="Those of this project.")] = None,
        disabled: bool | None = None,
    ) -> Listing[ShownKey]:
        async with admin.reading(actor) as view:
            return await keys.list_keys(view, tenant, page, project=project, disabled=disabled)

    @router.post("", status_code=201, responses=makes() | refusals(404, 409, 413))
    async def create_key(
        actor: Admin, tenant: TenantPath, new: NewKey, response: Response
    ) -> IssuedKey:
        issued = parts.issue()
        async with admin.writing(actor) as change:
            shown = await keys.create_key(change, tenant, new, _verifier(issued))
        return _revealed(response, shown, issued)

    @router.get("/{key}", responses=shows() | refusals(404))
    async def get_key(
        actor: Viewer, tenant: TenantPath, key: KeyPath, response: Response
    ) -> ShownKey:
        async with admin.reading(actor) as view:
            return tagged(response, await keys.get_key(view, tenant, key))

    @router.patch("/{key}", responses=shows() | refusals(404, 409, 412, 413, 428))
    async def update_key(
        actor: Admin,
        tenant: TenantPath,
        key: KeyPath,
        patch: KeyPatch,
        match: Versions,
        response: Response,
    ) -> ShownKey:
        async with admin.writing(actor) as change:
            changed = await keys.update_key(change, tenant, key, patch, match)
        return tagged(response, changed)

    @router.delete("/{key}", status_code=204, responses=refusals(404, 409, 412, 428))
    async def delete_key(actor: Admin, tenant: TenantPath, key: KeyPath, match: Versions) -> None:
        async with admin.writing(actor) as change:
            await keys.delete_key(change, tenant, key, match)

    @router.post("/{key}/rotate", status_code=201, responses=makes() | refusals(404, 409, 413))
    async def rotate_key(
        actor: Admin,
        tenant: TenantPath,
        key: KeyPath,
        rotation: Annotated[Rotation, Body()],
        response: Response,
    ) -> IssuedKey:
        issued = parts.issue()
        async with admin.writing(actor) as change:
            shown = await keys.rotate_key(change, tenant, key, rotation, _verifier(issued))
        return _revealed(response, shown, issued)

    return router


def _verifier(issued: Issued) -> Verifier:
    return Verifier(issued.public_id, issued.digest, issued.pepper)


def _revealed(response: Response, shown: ShownKey, issued: Issued) -> IssuedKey:
    response.headers["cache-control"] = "no-store"
    whole = IssuedKey(**shown.model_dump(), key=issued.key.reveal())
    return located(response, whole, "tenants", shown.tenant, "keys", shown.id)
