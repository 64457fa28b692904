from random import Random
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends

from gateway.access import Access, ConfiguredKeys, Key
from gateway.admin.actor import Actor, Role
from gateway.admin.gates import RoleGate
from gateway.admin.tenants import NewTenant, create_tenant
from gateway.contract.errors import InvalidKey
from gateway.inbound.api import create_api
from tests.support.administration import BOOTSTRAP, FILE_KEY, PASSWORD, PEPPERS, Office

KEY = Key.generate(Random(1)).reveal()

Headers = list[tuple[str, str]]


def bearer(token: str) -> Headers:
    return [("authorization", f"Bearer {token}")]


async def asked(gate: RoleGate, headers: Headers) -> httpx.Response:
    router = APIRouter()

    @router.get("/closed")
    async def closed(actor: Annotated[Actor, Depends(gate)]) -> str:
        return actor.name

    api = create_api([router], docs=False, inference=())
    transport = httpx.ASGITransport(api)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.get("/closed", headers=headers)


async def test_whoever_has_the_role_passes_under_its_name(office: Office) -> None:
    adam = await office.operator("adam", Role.ADMIN)
    gate = RoleGate(office.sessions, Role.ADMIN)

    for token, name in ((adam, "adam"), (BOOTSTRAP, "bootstrap")):
        answer = await asked(gate, bearer(token))
        assert (answer.status_code, answer.json()) == (200, name)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("least", list(Role))
async def test_a_role_passes_where_it_is_enough(office: Office, role: Role, least: Role) -> None:
    token = await office.operator("somebody", role)
    answer = await asked(RoleGate(office.sessions, least), bearer(token))

    assert answer.status_code == (200 if role.includes(least) else 403)


async def test_nobody_whom_a_tenant_bounds_passes_where_all_are_concerned(office: Office) -> None:
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme"))
    token = await office.operator("anna", Role.ADMIN, "acme")

    for everywhere, status in ((False, 200), (True, 403)):
        gate = RoleGate(office.sessions, Role.ADMIN, everywhere=everywhere)
        assert (await asked(gate, bearer(token))).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", BOOTSTRAP)],
        [("authorization", f"Basic {BOOTSTRAP}")],
        [("x-api-key", BOOTSTRAP)],
        [("api-key", BOOTSTRAP)],
        bearer(BOOTSTRAP) * 2,
        bearer(BOOTSTRAP) + bearer("another"),
        bearer(BOOTSTRAP + "x"),
        bearer(KEY),
        bearer(FILE_KEY.reveal()),
        bearer(PASSWORD),
        bearer("x" * 10_000),
    ],
    ids=range(15),
)
async def test_whoever_is_not_known_is_refused_alike(office: Office, headers: Headers) -> None:
    answer = await asked(RoleGate(office.sessions, Role.VIEWER), headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_token"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_a_token_comes_as_a_bearer(office: Office, scheme: str) -> None:
    headers = [("authorization", f"{scheme} {BOOTSTRAP}")]

    assert (await asked(RoleGate(office.sessions, Role.OWNER), headers)).status_code == 200


async def test_a_token_is_no_key_of_the_data_plane(office: Office) -> None:
    adam = await office.operator("adam", Role.ADMIN)
    access = Access(ConfiguredKeys({}, PEPPERS), PEPPERS)

    for token in (adam, BOOTSTRAP):
        with pytest.raises(InvalidKey):
            await access.caller({b"authorization": [f"Bearer {token}".encode()]})
