"""Tenants: who is billed and limited. Only an actor that sees all of them changes one."""

from typing import ClassVar, Literal

from pydantic import Field

from ..access import TenantSettings
from ..store.objects import TENANTS, Condition, Row
from ..store.tables import tenants
from .actor import Role
from .administration import Change, View
from .errors import Conflict, NotFound, ReadOnly
from .listing import Listing, Paging, listed
from .plans import check_plan
from .shapes import KEPT, Json, Kept, ModelNames, Name, Patch, Request, TenantId, Title
from .versions import ANY, Match, check_version


class NewTenant(Request):
    """A tenant to make."""

    example: ClassVar[Json] = {
        "id": "acme",
        "title": "Acme, Inc.",
        "plan": "default",
        "models": ["chat-small"],
    }

    id: TenantId
    title: Title = ""
    plan: Name = "default"
    models: ModelNames = Field(
        default=(), description="Public names that it may use; `*` is all. Default: none."
    )
    suspended: bool = False


class TenantPatch(Patch):
    """A change of a tenant."""

    example: ClassVar[Json] = {"suspended": True}

    title: Title = ""
    plan: Name = ""
    models: ModelNames = ()
    suspended: bool = Field(default=False, description="True refuses all of its keys.")


class Tenant(Kept):
    """A tenant."""

    example: ClassVar[Json] = {
        "object": "tenant",
        **NewTenant.example,
        "suspended": False,
        **KEPT,
    }

    object: Literal["tenant"] = "tenant"
    id: TenantId
    title: str = ""
    plan: str
    models: tuple[str, ...]
    suspended: bool = False


async def list_tenants(
    view: View,
    paging: Paging | None = None,
    *,
    plan: str | None = None,
    suspended: bool | None = None,
) -> Listing[Tenant]:
    """
    A page of the tenants that the actor sees; all of them where none is asked for.

    Raises:
        InvalidRequest: the place to go on from is none.
    """

    def wanted(tenant: Tenant) -> bool:
        return (
            view.actor.sees(tenant.id)
            and plan in {None, tenant.plan}
            and suspended in {None, tenant.suspended}
        )

    file = [_written(name, each) for name, each in sorted(view.configured.tenants.items())]
    conditions: list[Condition] = [tenants.c.id.not_in(view.configured.tenants)]
    if view.actor.tenant is not None:
        conditions.append(tenants.c.id == view.actor.tenant)
    if plan is not None:
        conditions.append(tenants.c.plan == plan)
    if suspended is not None:
        conditions.append(tenants.c.suspended == suspended)
    written = [(each.id, each) for each in file if wanted(each)]
    return await listed(view, TENANTS, _kept, *conditions, paging=paging, written=written)


async def get_tenant(view: View, tenant: str) -> Tenant:
    """
    Raises:
        NotFound: there is none that the actor sees.
    """
    found = await _find(view, tenant) if view.actor.sees(tenant) else None
    if found is None:
        raise NotFound("tenant")
    return found


async def own_tenant(change: Change, tenant: str) -> Tenant:
    """
    The tenant in which something is to change.

    Raises:
        NotFound: there is none that the actor sees.
        ReadOnly: it is the file's, and so is all that belongs to it.
    """
    found = await get_tenant(change, tenant)
    if found.source == "file":
        raise ReadOnly("tenant")
    return found


async def create_tenant(change: Change, new: NewTenant) -> Tenant:
    """
    Raises:
        Conflict: the id is taken.
        InvalidRequest: its plan or one of its models does not exist.
    """
    change.actor.require(Role.ADMIN, everywhere=True)
    if await _find(change, new.id) is not None:
        raise Conflict("A tenant of this id exists.", code="already_exists", param="id")
    await check_plan(change, new.plan)
    change.configured.check_models(new.models)
    row = await TENANTS.add(change.connection, new.model_dump(mode="json"), change.now)
    tenant = _kept(row)
    await change.record("create", "tenant", tenant.id, tenant=tenant.id, after=tenant.record())
    return tenant


async def update_tenant(
    change: Change, tenant: str, patch: TenantPatch, match: Match = ANY
) -> Tenant:
    """
    Raises:
        NotFound, ReadOnly, VersionMismatch: it can't be changed, or not in this version.
        Forbidden: it is the actor's own.
        InvalidRequest: its plan or one of its models does not exist.
    """
    before = await _changeable(change, tenant, match)
    values = patch.given()
    if "plan" in values:
        await check_plan(change, patch.plan)
    change.configured.check_models(patch.models)
    after = _kept(await TENANTS.change(change.connection, (tenant,), values, change.now))
    await change.record(
        "update", "tenant", tenant, tenant=tenant, before=before.record(), after=after.record()
    )
    return after


async def delete_tenant(change: Change, tenant: str, match: Match = ANY) -> None:
    """
    Its projects, keys and operators go with it; its audit rows and its ledger stay.

    Raises:
        NotFound, ReadOnly, VersionMismatch: it can't be deleted, or not in this version.
        Forbidden: it is the actor's own.
    """
    before = await _changeable(change, tenant, match)
    await TENANTS.remove(change.connection, tenant)
    await change.record("delete", "tenant", tenant, tenant=tenant, before=before.record())


async def _changeable(change: Change, tenant: str, match: Match) -> Tenant:
    before = await own_tenant(change, tenant)
    change.actor.require(Role.ADMIN, everywhere=True)
    check_version(match, before.version)
    return before


async def _find(view: View, tenant: str) -> Tenant | None:
    if (settings := view.configured.tenants.get(tenant)) is not None:
        return _written(tenant, settings)
    row = await TENANTS.find(view.connection, tenant)
    return None if row is None else _kept(row)


def _written(tenant: str, settings: TenantSettings) -> Tenant:
    return Tenant(id=tenant, plan=settings.plan, models=settings.models, source="file")


def _kept(row: Row) -> Tenant:
    return Tenant.model_validate(dict(row))
