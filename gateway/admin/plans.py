"""
Plans: named sets of limits.

Who is bound to one tenant sees the plans that its tenant, projects and keys have, and may give
its projects and keys those: the names of the others are no business of its.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..contract.errors import InvalidRequest
from ..limits import PlanSettings
from ..store.objects import PLANS, Condition, Row, plans_of, uses_plan
from ..store.tables import plans
from .actor import Role
from .administration import Change, View
from .errors import Conflict, NotFound, ReadOnly
from .listing import Listing, Paging, listed
from .shapes import KEPT, Json, Kept, Name, Patch, Request
from .versions import ANY, Match, check_version

Limits = Annotated[
    PlanSettings,
    Field(description="What is not given is not limited.", examples=[{"requests": "600/minute"}]),
]


class NewPlan(Request):
    """A plan to make."""

    example: ClassVar[Json] = {
        "name": "team",
        "limits": {"requests": "600/minute", "budget": "20 USD/month"},
    }

    name: Name
    limits: Limits


class PlanPatch(Patch):
    """A change of a plan. Its limits are replaced as a whole."""

    example: ClassVar[Json] = {"limits": {"requests": "900/minute", "budget": "30 USD/month"}}

    limits: Limits = PlanSettings()


class Plan(Kept):
    """A plan."""

    example: ClassVar[Json] = {"object": "plan", **NewPlan.example, **KEPT}

    object: Literal["plan"] = "plan"
    name: Name
    limits: Limits


async def list_plans(view: View, paging: Paging | None = None) -> Listing[Plan]:
    """
    A page of the plans that the actor sees; all of them where none is asked for.

    Raises:
        InvalidRequest: the place to go on from is none.
    """
    known = await _known(view)
    written = [
        (name, _written(name, limits))
        for name, limits in sorted(view.configured.plans.items())
        if known is None or name in known
    ]
    conditions: list[Condition] = [plans.c.name.not_in(view.configured.plans)]
    if known is not None:
        conditions.append(plans.c.name.in_(known))
    return await listed(view, PLANS, _kept, *conditions, paging=paging, written=written)


async def get_plan(view: View, name: str) -> Plan:
    """
    Raises:
        NotFound: there is none that the actor sees.
    """
    plan = await _find(view, name)
    if plan is None:
        raise NotFound("plan")
    return plan


async def check_plan(view: View, name: str) -> None:
    """
    Hold a reference to the plans that the actor sees.

    Raises:
        InvalidRequest: there is no such plan.
    """
    if await _find(view, name) is None:
        raise InvalidRequest(f"No plan is called {name!r}.", param="plan", code="unknown_plan")


async def create_plan(change: Change, new: NewPlan) -> Plan:
    """
    Raises:
        Conflict: the name is taken.
        InvalidRequest: it limits a model that is not configured.
    """
    change.actor.require(Role.ADMIN, everywhere=True)
    if await _find(change, new.name) is not None:
        raise Conflict("A plan of this name exists.", code="already_exists", param="name")
    row = {"name": new.name, "limits": _limits(change, new.limits)}
    plan = _kept(await PLANS.add(change.connection, row, change.now))
    await change.record("create", "plan", plan.name, after=plan.record())
    return plan


async def update_plan(change: Change, name: str, patch: PlanPatch, match: Match = ANY) -> Plan:
    """
    Raises:
        NotFound, ReadOnly, VersionMismatch: it can't be changed, or not in this version.
        InvalidRequest: it limits a model that is not configured.
    """
    plan = await _changeable(change, name, match)
    values = {"limits": _limits(change, patch.limits)}
    changed = _kept(await PLANS.change(change.connection, (name,), values, change.now))
    await change.record("update", "plan", name, before=plan.record(), after=changed.record())
    return changed


async def delete_plan(change: Change, name: str, match: Match = ANY) -> None:
    """
    Raises:
        NotFound, ReadOnly, VersionMismatch: it can't be deleted, or not in this version.
        Conflict: a tenant, a project or a key has it.
    """
    plan = await _changeable(change, name, match)
    if await uses_plan(change.connection, name) or change.configured.uses_plan(name):
        raise Conflict("Tenants, projects or keys have this plan.", code="in_use")
    await PLANS.remove(change.connection, name)
    await change.record("delete", "plan", name, before=plan.record())


async def _find(view: View, name: str) -> Plan | None:
    known = await _known(view)
    if known is not None and name not in known:
        return None
    if (limits := view.configured.plans.get(name)) is not None:
        return _written(name, limits)
    row = await PLANS.find(view.connection, name)
    return None if row is None else _kept(row)


async def _changeable(change: Change, name: str, match: Match) -> Plan:
    change.actor.require(Role.ADMIN, everywhere=True)
    plan = await get_plan(change, name)
    if plan.source == "file":
        raise ReadOnly("plan")
    check_version(match, plan.version)
    return plan


async def _known(view: View) -> frozenset[str] | None:
    """The names that the actor's tenant has to do with, None where it sees all."""
    if (tenant := view.actor.tenant) is None:
        return None
    if (settings := view.configured.tenants.get(tenant)) is not None:
        return frozenset({settings.plan} | {key.plan for key in settings.keys if key.plan})
    return await plans_of(view.connection, tenant)


def _limits(change: Change, limits: PlanSettings) -> Mapping[str, Any]:
    change.configured.check_models(limits.models, param="limits.models")
    return limits.model_dump(mode="json", exclude_none=True)


def _written(name: str, limits: PlanSettings) -> Plan:
    return Plan(name=name, limits=limits, source="file")


def _kept(row: Row) -> Plan:
    return Plan.model_validate(dict(row))
