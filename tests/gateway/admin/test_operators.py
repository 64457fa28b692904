from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import Conflict, Forbidden, NotFound, VersionMismatch
from gateway.admin.operators import (
    NewOperator,
    Operator,
    OperatorPatch,
    create_operator,
    delete_operator,
    get_operator,
    later,
    list_operators,
    update_operator,
)
from gateway.admin.tenants import NewTenant, create_tenant
from gateway.contract.errors import InvalidRequest
from gateway.store.objects import OPERATORS
from tests.support.administration import PASSWORD, START, Office


def new(name: str = "adam", role: str = "admin", **fields: object) -> NewOperator:
    return NewOperator.model_validate({"name": name, "password": PASSWORD, "role": role, **fields})


@pytest.fixture
async def staff(office: Office) -> Office:
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme"))
        await create_operator(change, new(), "hash-of-adam")
        await create_operator(change, new("anna", tenant="acme"), "hash-of-anna")
    return office


async def row(office: Office, name: str) -> dict[str, Any]:
    async with office.view() as view:
        found = await OPERATORS.find(view.connection, name)
    assert found is not None
    return dict(found)


async def test_an_operator_is_kept_as_it_was_made(staff: Office) -> None:
    async with staff.view() as view:
        assert [each.name for each in (await list_operators(view)).data] == ["adam", "anna"]
        of_acme = (await list_operators(view, tenant="acme")).data
        anna = await get_operator(view, "anna")
    kept = await row(staff, "anna")

    assert list(of_acme) == [anna]
    assert (anna.role, anna.tenant, anna.disabled, anna.version) == ("admin", "acme", False, 1)
    assert (kept["password_hash"], kept["signed_out"]) == ("hash-of-anna", START)


@pytest.mark.parametrize("name", ["adam", "bootstrap", "nobody"])
async def test_a_name_is_one_operators(staff: Office, name: str) -> None:
    async with staff.change() as change:
        with pytest.raises(Conflict):
            await create_operator(change, new(name), "hash")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tenant": "missing"}, "unknown_tenant"),
        ({"tenant": "written"}, "read_only"),
        ({"tenant": "acme", "role": "owner"}, None),
    ],
)
async def test_what_an_operator_is_bound_to_exists(
    staff: Office, fields: dict[str, str], code: str | None
) -> None:
    async with staff.change() as change:
        for attempt in (
            create_operator(change, new("new", **{"role": "admin", **fields}), "hash"),
            update_operator(change, "adam", OperatorPatch.model_validate(fields)),
        ):
            with pytest.raises(InvalidRequest) as raised:
                await attempt
            assert (raised.value.param, raised.value.code) == ("tenant", code)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"role": "owner"}, {"role": "owner"}),
        ({"tenant": "acme"}, {"tenant": "acme"}),
        ({"disabled": True}, {"disabled": True}),
        ({"password": PASSWORD}, {"password_hash": "another-hash"}),
    ],
    ids=str,
)
async def test_every_change_signs_the_operator_out(
    staff: Office, fields: dict[str, object], kept: dict[str, object]
) -> None:
    patch = OperatorPatch.model_validate(fields)
    async with staff.change() as change:
        await update_operator(change, "adam", patch, password_hash="another-hash")

    after = await row(staff, "adam")
    assert {name: after[name] for name in kept} == kept
    assert after["signed_out"] > START
    assert after["version"] == 2
    event = (await staff.events())[-1]
    assert event["after"]["password_changed"] == ("password" in fields)


async def test_a_password_stays_where_another_field_changes(staff: Office) -> None:
    async with staff.change() as change:
        await update_operator(change, "adam", OperatorPatch(disabled=True))

    assert (await row(staff, "adam"))["password_hash"] == "hash-of-adam"


async def test_a_change_for_another_version_changes_nothing(staff: Office) -> None:
    async with staff.change() as change:
        for attempt in (
            update_operator(change, "adam", OperatorPatch(disabled=True), frozenset({2})),
            delete_operator(change, "adam", frozenset({2})),
        ):
            with pytest.raises(VersionMismatch):
                await attempt
    assert (await row(staff, "adam"))["version"] == 1


async def test_an_operator_is_deleted(staff: Office) -> None:
    async with staff.change() as change:
        await delete_operator(change, "anna", frozenset({1}))
        with pytest.raises(NotFound):
            await get_operator(change, "anna")
    event = (await staff.events())[-1]
    assert (event["action"], event["object"], event["tenant"]) == ("delete", "anna", "acme")


async def test_operators_are_owners_to_see_and_to_change(staff: Office) -> None:
    async with staff.change(Actor("adam", Role.ADMIN)) as change:
        for attempt in (
            list_operators(change),
            get_operator(change, "adam"),
            create_operator(change, new("new"), "hash"),
            update_operator(change, "adam", OperatorPatch(role=Role.OWNER)),
            delete_operator(change, "anna"),
        ):
            with pytest.raises(Forbidden):
                await attempt


@pytest.mark.parametrize("password", ["", "too short", "x" * 201])
def test_a_password_has_its_bounds_and_is_not_repeated(password: str) -> None:
    with pytest.raises(ValidationError) as raised:
        NewOperator.model_validate({"name": "new", "role": "admin", "password": password})
    assert "password" in str(raised.value)
    assert not password or password not in str(raised.value)


def test_a_password_shows_nowhere() -> None:
    made = new()

    for text in (repr(made), str(made), made.model_dump_json(), f"{made.password}"):
        assert PASSWORD not in text
    assert not {"password", "password_hash", "signed_out"} & Operator.model_fields.keys()


def test_two_moments_of_signing_out_are_never_the_same() -> None:
    assert later(START, START) == START + timedelta(microseconds=1)
    assert later(START, START + timedelta(days=1)) == START + timedelta(days=1)
    assert later(START, START - timedelta(days=1)) > START
