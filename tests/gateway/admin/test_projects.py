from collections.abc import AsyncIterator

import pytest

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import Conflict, NotFound, ReadOnly, VersionMismatch
from gateway.admin.projects import (
    NewProject,
    Project,
    ProjectPatch,
    create_project,
    delete_project,
    get_project,
    list_projects,
    update_project,
)
from gateway.admin.tenants import NewTenant, Tenant, create_tenant
from gateway.contract.errors import InvalidRequest
from tests.support.administration import START, Office

ANNA = Actor("anna", Role.ADMIN, "acme")
OTTO = Actor("otto", Role.ADMIN, "other")


@pytest.fixture
async def acme(office: Office) -> Office:
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme", models=("chat", "embed")))
        await create_tenant(change, NewTenant(id="other", plan="small"))
        await create_project(change, "acme", NewProject(id="p", title="Search", plan="small"))
        await create_project(change, "acme", NewProject(id="q", models=("chat",), suspended=True))
        await create_project(change, "other", NewProject(id="p"))
    return office


async def test_a_project_is_kept_as_it_was_made(acme: Office) -> None:
    async with acme.view() as view:
        p, q = await get_project(view, "acme", "p"), await get_project(view, "acme", "q")

    assert (p.tenant, p.title, p.plan, p.models) == ("acme", "Search", "small", None)
    assert (p.version, p.created, p.suspended) == (1, START, False)
    assert (q.plan, q.models, q.suspended) == (None, ("chat",), True)


async def test_the_projects_of_a_tenant_are_listed(acme: Office) -> None:
    async with acme.view() as view:
        assert [each.id for each in (await list_projects(view, "acme")).data] == ["p", "q"]
        suspended = await list_projects(view, "acme", suspended=True)
        assert [each.id for each in suspended.data] == ["q"]
        assert (await list_projects(view, "written")).data == []
        with pytest.raises(NotFound):
            await list_projects(view, "missing")


async def test_an_id_is_one_of_its_own_within_a_tenant(acme: Office) -> None:
    async with acme.change() as change:
        await create_project(change, "other", NewProject(id="q"))
        with pytest.raises(Conflict):
            await create_project(change, "acme", NewProject(id="q"))


async def test_tenants_of_the_file_have_no_projects(acme: Office) -> None:
    async with acme.change() as change:
        with pytest.raises(ReadOnly):
            await create_project(change, "written", NewProject(id="p"))


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"plan": "missing"}, "plan", "unknown_plan"),
        ({"models": ("missing",)}, "models", "unknown_model"),
        ({"models": ("org/other:latest",)}, "models", "model_not_granted"),
    ],
)
async def test_a_project_has_what_its_tenant_could_give(
    acme: Office, fields: dict[str, object], param: str, code: str
) -> None:
    async with acme.change() as change:
        for attempt in (
            create_project(change, "acme", NewProject.model_validate({"id": "new", **fields})),
            update_project(change, "acme", "p", ProjectPatch.model_validate(fields)),
        ):
            with pytest.raises(InvalidRequest) as raised:
                await attempt
            assert (raised.value.param, raised.value.code) == (param, code)


async def test_null_takes_a_plan_and_a_list_of_models_away(acme: Office) -> None:
    async with acme.change() as change:
        p = await update_project(change, "acme", "p", ProjectPatch(plan=None, title="x"))
        q = await update_project(change, "acme", "q", ProjectPatch(models=None))

    assert (p.plan, p.title, p.version) == (None, "x", 2)
    assert (q.models, q.suspended, q.version) == (None, True, 2)


async def test_a_change_for_another_version_changes_nothing(acme: Office) -> None:
    async with acme.change() as change:
        with pytest.raises(VersionMismatch):
            await update_project(change, "acme", "p", ProjectPatch(title="x"), frozenset({2}))
        with pytest.raises(VersionMismatch):
            await delete_project(change, "acme", "p", frozenset({2}))
        assert (await get_project(change, "acme", "p")).title == "Search"


async def test_a_project_is_deleted_from_its_tenant_alone(acme: Office) -> None:
    async with acme.change() as change:
        await delete_project(change, "acme", "p", frozenset({1}))
        with pytest.raises(NotFound):
            await get_project(change, "acme", "p")
        assert (await get_project(change, "other", "p")).tenant == "other"
    event = (await acme.events())[-1]
    assert (event["action"], event["object"], event["tenant"]) == ("delete", "p", "acme")


async def test_projects_are_their_tenants_own_to_change(acme: Office) -> None:
    async with acme.change(ANNA) as change:
        await create_project(change, "acme", NewProject(id="mine", plan="small"))
        await update_project(change, "acme", "mine", ProjectPatch(title="Mine"))
        await delete_project(change, "acme", "mine")


@pytest.fixture
async def otto(acme: Office) -> AsyncIterator[Office]:
    """Whatever the test tries, nothing of acme's changes."""
    async with acme.view() as view:
        before = await list_projects(view, "acme")
    yield acme
    async with acme.view() as view:
        assert await list_projects(view, "acme") == before


async def test_another_tenants_projects_do_not_exist(otto: Office) -> None:
    async with otto.change(OTTO) as change:
        for attempt in (
            list_projects(change, "acme"),
            get_project(change, "acme", "q"),
            create_project(change, "acme", NewProject(id="new")),
            update_project(change, "acme", "q", ProjectPatch(title="x")),
            delete_project(change, "acme", "q"),
            get_project(change, "other", "q"),
        ):
            with pytest.raises(NotFound):
                await attempt


async def test_a_project_gives_its_own_models_or_its_tenants() -> None:
    tenant = Tenant(id="acme", plan="default", models=("chat", "embed"))

    def granted(models: tuple[str, ...] | None) -> tuple[str, ...]:
        return Project(tenant="acme", id="p", models=models).grants(tenant)

    assert granted(None) == granted(("*",)) == ("chat", "embed")
    assert granted(("chat",)) == ("chat",)
    assert granted(()) == ()
