"""
What `lockgate tenants`, `projects`, `keys`, `plans` and `operators` do.

Each is one operation of administration, as the API has it, with its answer printed.
"""

from datetime import datetime
from typing import Any

from pydantic import SecretStr

from . import erase, keys, operators, plans, projects, tenants
from .administration import View
from .desk import Desk, read, request
from .moments import after, seconds
from .printing import Column

TENANTS = (
    Column("ID", "id"),
    Column("TITLE", "title"),
    Column("PLAN", "plan"),
    Column("MODELS", "models"),
    Column("SUSPENDED", "suspended"),
    Column("SOURCE", "source"),
)
PROJECTS = TENANTS[:-1]
KEYS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("PROJECT", "project"),
    Column("PLAN", "plan"),
    Column("MODELS", "models"),
    Column("SCOPES", "scopes"),
    Column("EXPIRES", "expires"),
    Column("LAST USED", "last_used"),
    Column("DISABLED", "disabled"),
    Column("REPLACED BY", "replaced_by"),
    Column("SOURCE", "source"),
)
PLANS = (Column("NAME", "name"), Column("LIMITS", "limits"), Column("SOURCE", "source"))
OPERATORS = (
    Column("NAME", "name"),
    Column("ROLE", "role"),
    Column("TENANT", "tenant"),
    Column("DISABLED", "disabled"),
)


# Tenants


async def list_tenants(desk: Desk, *, plan: str | None, suspended: bool | None) -> None:
    async with desk.reading() as view:
        found = await tenants.list_tenants(view, plan=plan, suspended=suspended)
    desk.listing(TENANTS, found)


async def show_tenant(desk: Desk, tenant: str) -> None:
    async with desk.reading() as view:
        desk.show(await tenants.get_tenant(view, tenant))


async def create_tenant(desk: Desk, tenant: str, **given: Any) -> None:
    new = request(tenants.NewTenant, id=tenant, **given)
    async with desk.writing() as change:
        made = await tenants.create_tenant(change, new)
    desk.show(made, f"Created tenant {tenant}.")


async def update_tenant(desk: Desk, tenant: str, **given: Any) -> None:
    patch = request(tenants.TenantPatch, **given)
    async with desk.writing() as change:
        changed = await tenants.update_tenant(change, tenant, patch)
    desk.show(changed, f"Changed tenant {tenant}.")


async def delete_tenant(desk: Desk, tenant: str) -> None:
    async with desk.writing() as change:
        await tenants.delete_tenant(change, tenant)
    desk.gone("tenant", tenant)


async def erase_tenant(desk: Desk, tenant: str) -> None:
    """Whoever runs the command was asked before."""
    confirmed = request(erase.Erasure, confirm=tenant)
    async with desk.writing() as change:
        erased = await erase.erase_tenant(change, tenant, confirmed)
    desk.show(erased, f"Erased tenant {tenant}.")


# Projects


async def list_projects(desk: Desk, tenant: str, *, suspended: bool | None) -> None:
    async with desk.reading() as view:
        found = await projects.list_projects(view, tenant, suspended=suspended)
    desk.listing(PROJECTS, found)


async def show_project(desk: Desk, tenant: str, project: str) -> None:
    async with desk.reading() as view:
        desk.show(await projects.get_project(view, tenant, project))


async def create_project(desk: Desk, tenant: str, project: str, **given: Any) -> None:
    new = request(projects.NewProject, id=project, **given)
    async with desk.writing() as change:
        made = await projects.create_project(change, tenant, new)
    desk.show(made, f"Created project {project} of tenant {tenant}.")


async def update_project(desk: Desk, tenant: str, project: str, **given: Any) -> None:
    patch = request(projects.ProjectPatch, **given)
    async with desk.writing() as change:
        changed = await projects.update_project(change, tenant, project, patch)
    desk.show(changed, f"Changed project {project} of tenant {tenant}.")


async def delete_project(desk: Desk, tenant: str, project: str) -> None:
    async with desk.writing() as change:
        await projects.delete_project(change, tenant, project)
    desk.gone("project", project)


# Keys


async def list_keys(desk: Desk, tenant: str, *, project: str | None, disabled: bool | None) -> None:
    async with desk.reading() as view:
        found = await keys.list_keys(view, tenant, project=project, disabled=disabled)
    desk.listing(KEYS, found)


async def show_key(desk: Desk, tenant: str, key: str) -> None:
    async with desk.reading() as view:
        desk.show(await _key(view, tenant, key))


async def create_key(
    desk: Desk, tenant: str, name: str, *, expires: str | None, **given: Any
) -> None:
    instant = _instant(desk, expires)
    new = request(keys.NewKey, name=name, expires=instant, **given)
    secret, verifier = desk.issue()
    async with desk.writing() as change:
        made = await keys.create_key(change, tenant, new, verifier)
    desk.secret(made, secret, f"Created key {name} of tenant {tenant}.")


async def update_key(
    desk: Desk, tenant: str, key: str, *, expires: str | None = None, **given: Any
) -> None:
    patch = request(keys.KeyPatch, expires=_instant(desk, expires), **given)
    async with desk.writing() as change:
        found = await _key(change, tenant, key)
        changed = await keys.update_key(change, tenant, found.id, patch)
    desk.show(changed, f"Changed key {changed.name} of tenant {tenant}.")


async def rotate_key(
    desk: Desk, tenant: str, key: str, *, overlap: str | None, expires: str | None
) -> None:
    length = None if overlap is None else read(lambda: seconds(overlap), "overlap")
    rotation = request(keys.Rotation, overlap=length, expires=_instant(desk, expires))
    secret, verifier = desk.issue()
    async with desk.writing() as change:
        found = await _key(change, tenant, key)
        made = await keys.rotate_key(change, tenant, found.id, rotation, verifier)
        old = await keys.get_key(change, tenant, found.id)
    until = f"{old.expires:%Y-%m-%d %H:%M:%SZ}"
    desk.secret(made, secret, f"Key {made.name} is {made.id} now; {old.id} works until {until}.")


async def delete_key(desk: Desk, tenant: str, key: str) -> None:
    async with desk.writing() as change:
        found = await _key(change, tenant, key)
        await keys.delete_key(change, tenant, found.id)
    desk.gone("key", found.id)


async def _key(view: View, tenant: str, key: str) -> keys.ShownKey:
    """The key of that public id, or else the one of that name that was not replaced."""
    found = (await keys.list_keys(view, tenant)).data
    named = [each for each in found if each.name == key and each.replaced_by is None]
    for each in (*(one for one in found if one.id == key), *named):
        return each
    return await keys.get_key(view, tenant, key)


def _instant(desk: Desk, text: str | None) -> datetime | str | None:
    """A time that is to come; an empty one is none at all."""
    if not text:
        return text
    return read(lambda: after(text, desk.administration.now()), "expires")


# Plans


async def list_plans(desk: Desk) -> None:
    async with desk.reading() as view:
        desk.listing(PLANS, await plans.list_plans(view))


async def show_plan(desk: Desk, plan: str) -> None:
    async with desk.reading() as view:
        desk.show(await plans.get_plan(view, plan))


async def set_plan(desk: Desk, plan: str, **limits: Any) -> None:
    """Make it, or replace the limits that it has."""
    given = {name: value for name, value in limits.items() if value is not None}
    new = request(plans.NewPlan, name=plan, limits=given)
    async with desk.writing() as change:
        known = {each.name for each in (await plans.list_plans(change)).data}
        if plan in known:
            patch = plans.PlanPatch(limits=new.limits)
            shown, told = await plans.update_plan(change, plan, patch), "Changed"
        else:
            shown, told = await plans.create_plan(change, new), "Created"
    desk.show(shown, f"{told} plan {plan}.")


async def delete_plan(desk: Desk, plan: str) -> None:
    async with desk.writing() as change:
        await plans.delete_plan(change, plan)
    desk.gone("plan", plan)


# Operators


async def list_operators(desk: Desk, *, tenant: str | None) -> None:
    async with desk.reading() as view:
        desk.listing(OPERATORS, await operators.list_operators(view, tenant=tenant))


async def create_operator(
    desk: Desk, name: str, *, password: SecretStr, role: str, tenant: str | None
) -> None:
    new = request(operators.NewOperator, name=name, password=password, role=role, tenant=tenant)
    kept = await desk.passwords.hash(new.password)
    async with desk.writing() as change:
        made = await operators.create_operator(change, new, kept)
    desk.show(made, f"Created operator {name}.")


async def update_operator(desk: Desk, name: str, **given: Any) -> None:
    """A new password, or whether it is disabled; it is signed out everywhere."""
    patch = request(operators.OperatorPatch, **given)
    kept = await desk.passwords.hash(patch.password) if "password" in given else None
    async with desk.writing() as change:
        changed = await operators.update_operator(change, name, patch, password_hash=kept)
    desk.show(changed, f"Changed operator {name}; it is signed out.")


async def delete_operator(desk: Desk, name: str) -> None:
    async with desk.writing() as change:
        await operators.delete_operator(change, name)
    desk.gone("operator", name)
