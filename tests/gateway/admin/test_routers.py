"""Who may call what: every route of administration, as every kind of caller."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.admin.throttle import Throttle
from gateway.gates import api_routes, gates_of
from gateway.store.database import Database
from tests.support.administration import PASSWORD, Office, office_of
from tests.support.world import KEYS, OPERATORS, STRANGERS, World

ADMIN = "/admin/v1"
TENANT = f"{ADMIN}/tenants/{{tenant}}"

EVERYBODY = "in in in   in in   in"
READ_OWN = "in in in   in in   404"
CHANGE_OWN = "403 in in   403 in   404"
CHANGE_TENANT = "403 in in   403 403   404"
EVERYWHERE = "403 in in   403 403   403"
OWNERS = "403 403 in   403 403   403"

# viewer, admin, owner; viewer and admin of the tenant that is asked about; admin of another
GOLDEN = {
    f"GET {ADMIN}/me": EVERYBODY,
    f"PUT {ADMIN}/me/password": EVERYBODY,
    f"POST {ADMIN}/sessions": EVERYBODY,
    f"DELETE {ADMIN}/sessions": EVERYBODY,
    f"GET {ADMIN}/operators": OWNERS,
    f"POST {ADMIN}/operators": OWNERS,
    f"GET {ADMIN}/operators/{{operator}}": OWNERS,
    f"PATCH {ADMIN}/operators/{{operator}}": OWNERS,
    f"DELETE {ADMIN}/operators/{{operator}}": OWNERS,
    f"GET {ADMIN}/plans": EVERYBODY,
    f"POST {ADMIN}/plans": EVERYWHERE,
    f"GET {ADMIN}/plans/{{plan}}": READ_OWN,
    f"PATCH {ADMIN}/plans/{{plan}}": EVERYWHERE,
    f"DELETE {ADMIN}/plans/{{plan}}": EVERYWHERE,
    f"GET {ADMIN}/tenants": EVERYBODY,
    f"POST {ADMIN}/tenants": EVERYWHERE,
    f"GET {TENANT}": READ_OWN,
    f"PATCH {TENANT}": CHANGE_TENANT,
    f"DELETE {TENANT}": CHANGE_TENANT,
    f"POST {TENANT}/erase": OWNERS,
    f"GET {TENANT}/projects": READ_OWN,
    f"POST {TENANT}/projects": CHANGE_OWN,
    f"GET {TENANT}/projects/{{project}}": READ_OWN,
    f"PATCH {TENANT}/projects/{{project}}": CHANGE_OWN,
    f"DELETE {TENANT}/projects/{{project}}": CHANGE_OWN,
    f"GET {TENANT}/keys": READ_OWN,
    f"POST {TENANT}/keys": CHANGE_OWN,
    f"GET {TENANT}/keys/{{key}}": READ_OWN,
    f"PATCH {TENANT}/keys/{{key}}": CHANGE_OWN,
    f"DELETE {TENANT}/keys/{{key}}": CHANGE_OWN,
    f"POST {TENANT}/keys/{{key}}/rotate": CHANGE_OWN,
    f"GET {ADMIN}/usage": EVERYBODY,
    f"GET {ADMIN}/ledger": EVERYBODY,
    f"GET {ADMIN}/audit": EVERYBODY,
    f"GET {ADMIN}/audit/verify": EVERYWHERE,
    f"POST {ADMIN}/config/reload": EVERYWHERE,
}
OPEN = {f"POST {ADMIN}/sessions"}
"""Whoever has no token passes as well."""

IDS = {
    "tenant": "acme",
    "project": "p-acme",
    "key": KEYS["acme-old"].public_id,
    "plan": "of-acme",
    "operator": "adam",
}
UNWELCOME = {
    # Each is let in and then refused for what it asks, so that nobody changes the world for the
    # next one: what it makes exists, what it changes has another version.
    f"PUT {ADMIN}/me/password": {"old": "wrong", "new": PASSWORD},
    f"POST {ADMIN}/sessions": {"name": "nobody", "password": "wrong"},
    f"POST {ADMIN}/operators": {"name": "adam", "password": PASSWORD, "role": "viewer"},
    f"PATCH {ADMIN}/operators/{{operator}}": {"disabled": True},
    f"POST {ADMIN}/plans": {"name": "of-acme", "limits": {}},
    f"PATCH {ADMIN}/plans/{{plan}}": {"limits": {}},
    f"POST {ADMIN}/tenants": {"id": "acme"},
    f"PATCH {TENANT}": {"title": "x"},
    f"POST {TENANT}/erase": {"confirm": "nobody"},
    f"POST {TENANT}/projects": {"id": "p-acme"},
    f"PATCH {TENANT}/projects/{{project}}": {"title": "x"},
    f"POST {TENANT}/keys": {"name": "ci-acme"},
    f"PATCH {TENANT}/keys/{{key}}": {"disabled": True},
    f"POST {TENANT}/keys/{{key}}/rotate": {},
}


def walked(office: Office) -> Iterator[str]:
    """Method and path of every route."""
    for route in api_routes(office.api.routes):
        yield from (f"{method} {route.path_format}" for method in route.methods or ())


def judged(answer: httpx.Response) -> str:
    """What became of it at the gate."""
    assert answer.status_code < 500, answer.text
    code = answer.json()["error"]["code"] if answer.status_code >= 400 else ""
    if answer.status_code in {401, 403, 404} and code != "invalid_credentials":
        return str(answer.status_code)
    return "in"


@pytest.fixture
async def world(office: Office) -> World:
    made = World(office)
    await made.make()
    office.sessions._throttle = Throttle("1000/second", "1000/second")
    return made


async def call(world: World, route: str, who: str, ids: dict[str, str]) -> httpx.Response:
    method, path = route.split(" ")
    async with world.office.client(await world.token(who)) as http:
        return await http.request(
            method,
            path.format(**ids),
            json=UNWELCOME.get(route),
            headers={"if-match": '"999"'},
        )


async def test_each_route_lets_in_whom_it_should(world: World) -> None:
    found = {
        route: {who: judged(await call(world, route, who, IDS)) for who in OPERATORS}
        for route in walked(world.office)
    }

    assert found == {
        route: dict(zip(OPERATORS, golden.split(), strict=True)) for route, golden in GOLDEN.items()
    }


async def test_without_a_token_that_holds_nobody_gets_anywhere(world: World) -> None:
    for route in walked(world.office):
        for who in STRANGERS:
            expected = "in" if route in OPEN else "401"
            assert judged(await call(world, route, who, IDS)) == expected, (route, who)


async def test_the_bootstrap_token_goes_wherever_an_owners_does(world: World) -> None:
    for route, golden in GOLDEN.items():
        assert judged(await call(world, route, "bootstrap", IDS)) == golden.split()[2], route


def test_the_gate_of_a_route_has_the_word_that_the_walk_finds(office: Office) -> None:
    words = {
        EVERYBODY: "viewer",
        READ_OWN: "viewer",
        CHANGE_OWN: "admin",
        CHANGE_TENANT: "admin",
        EVERYWHERE: "admin",
        OWNERS: "owner",
    }
    for route in api_routes(office.api.routes):
        (gate,) = gates_of(route)
        for method in route.methods or ():
            name = f"{method} {route.path_format}"
            assert gate.access == ("anyone" if name in OPEN else words[GOLDEN[name]])


def test_the_document_says_who_may_call(office: Office) -> None:
    document: dict[str, Any] = office.api.openapi()

    for name in GOLDEN:
        method, path = name.split(" ")
        operation = document["paths"][path][method.lower()]
        assert ("security" in operation) == (name not in OPEN)
        assert "422" not in operation["responses"]
        for scheme in operation.get("security", ()):
            assert scheme.keys() <= document["components"]["securitySchemes"].keys()


async def test_without_its_database_administration_answers_503_and_not_500() -> None:
    async with Database("postgresql://lockgate@127.0.0.1:9/none?sslmode=disable") as nowhere:
        closed = World(office_of(nowhere))
        found = {
            route: (await call(closed, route, "bootstrap", IDS)) for route in walked(closed.office)
        }

    answered = {route: answer.status_code for route, answer in found.items()}
    assert answered.pop(f"GET {ADMIN}/me") == 200
    assert set(answered.values()) == {503}
    refused = found[f"GET {ADMIN}/tenants"]
    assert refused.json()["error"]["code"] == "store_unavailable"
    assert refused.headers["x-should-retry"] == "true"
