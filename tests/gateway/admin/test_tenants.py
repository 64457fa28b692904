import pytest

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import Conflict, Forbidden, NotFound, ReadOnly, VersionMismatch
from gateway.admin.keys import NewKey, create_key
from gateway.admin.operators import NewOperator, create_operator, list_operators
from gateway.admin.projects import NewProject, create_project
from gateway.admin.tenants import (
    NewTenant,
    TenantPatch,
    create_tenant,
    delete_tenant,
    get_tenant,
    list_tenants,
    own_tenant,
    update_tenant,
)
from gateway.contract.errors import InvalidRequest
from gateway.store.objects import KEYS, PROJECTS
from tests.support.administration import PASSWORD, START, Office, verifier

ANNA = Actor("anna", Role.ADMIN, "acme")


@pytest.fixture
async def acme(office: Office) -> Office:
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme", title="Acme, Inc.", models=("chat",)))
        await create_tenant(change, NewTenant(id="other", plan="small", suspended=True))
    return office


async def ids(office: Office, actor: Actor | None = None, **filters: object) -> list[str]:
    async with office.view(*([actor] if actor else [])) as view:
        return [each.id for each in (await list_tenants(view, **filters)).data]  # type: ignore[arg-type]


async def test_a_tenant_is_kept_as_it_was_made(acme: Office) -> None:
    async with acme.view() as view:
        tenant = await get_tenant(view, "acme")

    assert (tenant.title, tenant.plan, tenant.models) == ("Acme, Inc.", "default", ("chat",))
    assert (tenant.suspended, tenant.source, tenant.version) == (False, "database", 1)
    assert tenant.created == tenant.updated == START


async def test_tenants_are_listed_by_plan_and_by_whether_they_are_suspended(acme: Office) -> None:
    assert await ids(acme) == ["written", "acme", "other"]
    assert await ids(acme, plan="small") == ["written", "other"]
    assert await ids(acme, suspended=True) == ["other"]
    assert await ids(acme, suspended=False, plan="default") == ["acme"]
    assert await ids(acme, plan="missing") == []


async def test_a_tenants_own_operators_see_that_tenant_alone(acme: Office) -> None:
    assert await ids(acme, ANNA) == ["acme"]
    assert await ids(acme, Actor("walt", Role.VIEWER, "written")) == ["written"]
    async with acme.view(ANNA) as view:
        assert (await get_tenant(view, "acme")).id == "acme"
        for name in ("other", "written", "missing"):
            with pytest.raises(NotFound):
                await get_tenant(view, name)


async def test_the_files_tenants_are_shown_and_are_changed_in_the_file(office: Office) -> None:
    async with office.change() as change:
        tenant = await get_tenant(change, "written")
        assert (tenant.source, tenant.version, tenant.created) == ("file", 0, None)
        assert (tenant.plan, tenant.models) == ("small", ("chat",))
        with pytest.raises(ReadOnly):
            await update_tenant(change, "written", TenantPatch(title="x"))
        with pytest.raises(ReadOnly):
            await delete_tenant(change, "written")
        with pytest.raises(ReadOnly):
            await own_tenant(change, "written")


@pytest.mark.parametrize("name", ["acme", "written"])
async def test_an_id_is_one_tenants_in_file_and_database(acme: Office, name: str) -> None:
    async with acme.change() as change:
        with pytest.raises(Conflict) as raised:
            await create_tenant(change, NewTenant(id=name))
    assert (raised.value.code, raised.value.param) == ("already_exists", "id")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"plan": "missing"}, "plan", "unknown_plan"),
        ({"models": ("chat", "missing")}, "models", "unknown_model"),
    ],
)
async def test_what_a_tenant_refers_to_exists(
    acme: Office, fields: dict[str, object], param: str, code: str
) -> None:
    async with acme.change() as change:
        for attempt in (
            create_tenant(change, NewTenant.model_validate({"id": "new", **fields})),
            update_tenant(change, "acme", TenantPatch.model_validate(fields)),
        ):
            with pytest.raises(InvalidRequest) as raised:
                await attempt
            assert (raised.value.param, raised.value.code) == (param, code)


async def test_a_change_leaves_alone_what_it_does_not_name(acme: Office) -> None:
    acme.clock.move(5)
    async with acme.change() as change:
        tenant = await update_tenant(change, "acme", TenantPatch(suspended=True))

    assert (tenant.title, tenant.models, tenant.suspended) == ("Acme, Inc.", ("chat",), True)
    assert (tenant.version, tenant.updated) == (2, acme.clock())
    event = (await acme.events())[-1]
    assert (event["before"]["suspended"], event["after"]["suspended"]) == (False, True)
    assert (event["kind"], event["object"], event["tenant"]) == ("tenant", "acme", "acme")


async def test_a_change_for_another_version_changes_nothing(acme: Office) -> None:
    async with acme.change() as change:
        with pytest.raises(VersionMismatch):
            await update_tenant(change, "acme", TenantPatch(title="x"), frozenset({7}))
        with pytest.raises(VersionMismatch):
            await delete_tenant(change, "acme", frozenset({7}))
        assert (await get_tenant(change, "acme")).version == 1


async def test_a_tenant_takes_along_its_projects_keys_and_operators(acme: Office) -> None:
    operator = NewOperator.model_validate(
        {"name": "anna", "password": PASSWORD, "role": "admin", "tenant": "acme"}
    )
    async with acme.change() as change:
        await create_project(change, "acme", NewProject(id="p"))
        await create_key(change, "acme", NewKey(name="ci"), verifier())
        await create_operator(change, operator, "a-hash")
        await delete_tenant(change, "acme", frozenset({1}))

        assert await PROJECTS.find(change.connection, "acme", "p") is None
        assert await KEYS.find(change.connection, verifier().public_id) is None
        assert (await list_operators(change)).data == []
    assert [each["action"] for each in await acme.events()][-1] == "delete"


async def test_a_tenants_own_operators_do_not_change_it(acme: Office) -> None:
    async with acme.change(ANNA) as change:
        with pytest.raises(Forbidden):
            await create_tenant(change, NewTenant(id="mine"))
        with pytest.raises(Forbidden):
            await update_tenant(change, "acme", TenantPatch(plan="small"))
        with pytest.raises(Forbidden):
            await delete_tenant(change, "acme")


async def test_another_tenant_does_not_exist_for_them(acme: Office) -> None:
    async with acme.change(ANNA) as change:
        for name in ("other", "written", "missing"):
            with pytest.raises(NotFound):
                await update_tenant(change, name, TenantPatch(title="x"))
            with pytest.raises(NotFound):
                await delete_tenant(change, name)
