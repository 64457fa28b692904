from dataclasses import replace

import pytest

from gateway.admin.actor import Actor, Role
from gateway.admin.configured import Configured
from gateway.admin.errors import Conflict, Forbidden, NotFound, ReadOnly, VersionMismatch
from gateway.admin.keys import NewKey, create_key
from gateway.admin.plans import (
    NewPlan,
    PlanPatch,
    check_plan,
    create_plan,
    delete_plan,
    get_plan,
    list_plans,
    update_plan,
)
from gateway.admin.projects import NewProject, create_project
from gateway.admin.tenants import NewTenant, create_tenant
from gateway.contract.errors import InvalidRequest
from gateway.limits import PlanSettings
from gateway.store.database import Database
from tests.support.administration import CONFIGURED, START, Office, office_of, verifier

LIMITS = PlanSettings.model_validate(
    {"requests": "5/second", "budget": "20 USD/month", "models": {"chat": {"tokens": "9/minute"}}}
)
ANNA = Actor("anna", Role.ADMIN, "acme")


async def made(office: Office, *names: str) -> None:
    async with office.change() as change:
        for name in names:
            await create_plan(change, NewPlan(name=name, limits=LIMITS))


async def test_a_plan_is_kept_as_it_was_written(office: Office) -> None:
    async with office.change() as change:
        plan = await create_plan(change, NewPlan(name="big", limits=LIMITS))
    async with office.view() as view:
        assert await get_plan(view, "big") == plan

    assert (plan.limits, plan.version, plan.source) == (LIMITS, 1, "database")
    assert plan.created == plan.updated == START
    (event,) = await office.events()
    assert event["after"]["limits"]["budget"] == "20 USD/month"


async def test_the_files_plans_are_shown_and_are_changed_in_the_file(office: Office) -> None:
    async with office.change() as change:
        plan = await get_plan(change, "small")
        assert (plan.limits.concurrency, plan.source, plan.version) == (2, "file", 0)
        with pytest.raises(ReadOnly):
            await update_plan(change, "small", PlanPatch(limits=LIMITS))
        with pytest.raises(ReadOnly):
            await delete_plan(change, "small")


@pytest.mark.parametrize("name", ["big", "small"])
async def test_a_name_is_one_plans_in_file_and_database(office: Office, name: str) -> None:
    await made(office, "big")

    async with office.change() as change:
        with pytest.raises(Conflict) as raised:
            await create_plan(change, NewPlan(name=name, limits=LIMITS))
    assert (raised.value.code, raised.value.param) == ("already_exists", "name")


async def test_a_plan_limits_models_that_are_configured(office: Office) -> None:
    missing = PlanSettings.model_validate({"models": {"missing": {"concurrency": 1}}})

    async with office.change() as change:
        with pytest.raises(InvalidRequest) as raised:
            await create_plan(change, NewPlan(name="big", limits=missing))
    assert (raised.value.param, raised.value.code) == ("limits.models", "unknown_model")


async def test_limits_are_replaced_as_a_whole(office: Office) -> None:
    await made(office, "big")
    office.clock.move(5)

    async with office.change() as change:
        plan = await update_plan(change, "big", PlanPatch(limits=PlanSettings(concurrency=3)))

    assert plan.limits == PlanSettings(concurrency=3)
    assert (plan.version, plan.created, plan.updated) == (2, START, office.clock())
    event = (await office.events())[-1]
    assert "requests" in event["before"]["limits"]
    assert "requests" not in event["after"]["limits"]


async def test_a_change_for_another_version_changes_nothing(office: Office) -> None:
    await made(office, "big")

    async with office.change() as change:
        for match in (frozenset({2}), frozenset()):
            with pytest.raises(VersionMismatch):
                await update_plan(change, "big", PlanPatch(limits=LIMITS), match)
            with pytest.raises(VersionMismatch):
                await delete_plan(change, "big", match)
        assert (await get_plan(change, "big")).version == 1
    assert len(await office.events()) == 1


async def test_a_plan_that_nobody_has_is_deleted(office: Office) -> None:
    await made(office, "big")

    async with office.change() as change:
        await delete_plan(change, "big", frozenset({1}))
        with pytest.raises(NotFound):
            await get_plan(change, "big")
    assert [each["action"] for each in await office.events()] == ["create", "delete"]


@pytest.mark.parametrize("holder", ["tenant", "project", "key"])
async def test_a_plan_that_somebody_has_stays(office: Office, holder: str) -> None:
    await made(office, "big")
    plan = {name: "big" if name == holder else None for name in ("project", "key")}
    of_tenant = "big" if holder == "tenant" else "default"

    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme", plan=of_tenant))
        await create_project(change, "acme", NewProject(id="p", plan=plan["project"]))
        await create_key(change, "acme", NewKey(name="ci", plan=plan["key"]), verifier())
        with pytest.raises(Conflict) as raised:
            await delete_plan(change, "big")
    assert raised.value.code == "in_use"


async def test_a_plan_that_the_file_uses_stays(database: Database) -> None:
    office = office_of(database)
    await made(office, "big")
    tenants = {"written": CONFIGURED.tenants["written"].model_copy(update={"plan": "big"})}
    reloaded = office_of(database, Configured({}, tenants, frozenset()))

    async with reloaded.change() as change:
        with pytest.raises(Conflict):
            await delete_plan(change, "big")


async def test_where_both_have_a_name_the_files_plan_counts(database: Database) -> None:
    await made(office_of(database), "big")
    plans = {"big": PlanSettings(concurrency=7)}
    reloaded = office_of(database, replace(CONFIGURED, plans=plans))

    async with reloaded.view() as view:
        assert [each.source for each in (await list_plans(view)).data] == ["file"]
        assert (await get_plan(view, "big")).limits.concurrency == 7


async def test_a_tenants_own_operators_see_the_plans_that_it_has(office: Office) -> None:
    await made(office, "of-acme", "of-project", "of-key", "of-other")
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme", plan="of-acme"))
        await create_tenant(change, NewTenant(id="other", plan="of-other"))
        await create_project(change, "acme", NewProject(id="p", plan="of-project"))
        await create_key(change, "acme", NewKey(name="ci", plan="of-key"), verifier())

    async with office.view(ANNA) as view:
        assert [each.name for each in (await list_plans(view)).data] == [
            "of-acme",
            "of-key",
            "of-project",
        ]
        await check_plan(view, "of-key")
        for name in ("of-other", "default", "missing"):
            with pytest.raises(NotFound):
                await get_plan(view, name)
            with pytest.raises(InvalidRequest):
                await check_plan(view, name)


async def test_operators_of_a_tenant_of_the_file_see_its_plan(office: Office) -> None:
    async with office.view(Actor("anna", Role.VIEWER, "written")) as view:
        assert [each.name for each in (await list_plans(view)).data] == ["small"]


async def test_a_tenants_own_operators_change_no_plan(office: Office) -> None:
    await made(office, "of-acme")
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme", plan="of-acme"))

    async with office.change(ANNA) as change:
        with pytest.raises(Forbidden):
            await create_plan(change, NewPlan(name="mine", limits=LIMITS))
        with pytest.raises(Forbidden):
            await update_plan(change, "of-acme", PlanPatch(limits=LIMITS))
        with pytest.raises(Forbidden):
            await delete_plan(change, "of-acme")
