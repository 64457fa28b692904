"""Who may call what: every route of both listeners, as each kind of caller."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from gateway.access import Access, ConfiguredKeys, Peppers, TenantSettings
from gateway.app import Gateway
from gateway.gates import Gate, api_routes, gates_of
from gateway.inbound.api import create_api
from gateway.inbound.edge import Edge
from gateway.inbound.gates import CallerGate, OperatorGate
from gateway.inbound.routes import INFERENCE
from tests.support.application import (
    CHAT,
    KEY,
    TOKEN,
    UNKNOWN_KEY,
    bearer,
    client,
    configured,
    running,
)

ROLES = {"nobody": {}, "caller": bearer(KEY), "operator": bearer(TOKEN)}
PRODUCTION = {
    "environment": "production",
    "key_pepper": "p" * 32,
    "admin_token": TOKEN,
    "jwt_secret": "j" * 32,
}
ADMINISTRATION = "/admin/v1/"
"""Its routes are walked as each of its own roles, in the tests of administration."""

ANYONE = {"nobody", "caller", "operator"}
PROBES = {
    "GET /health/live": ANYONE,
    "GET /health/ready": ANYONE,
    "GET /api/v1/health/live": ANYONE,
    "GET /api/v1/health/ready": ANYONE,
}
INFERENCES = {
    "POST /v1/chat/completions": {"caller"},
    "POST /v1/completions": {"caller"},
    "POST /v1/embeddings": {"caller"},
    "GET /v1/models": {"caller"},
    "GET /v1/models/{model}": {"caller"},
    "GET /v1/limits": {"caller"},
    "GET /v1/usage": {"caller"},
}
OPERATIONS = {
    "GET /health/": {"operator"},
    "GET /api/v1/health/": {"operator"},
    "GET /metrics": {"operator"},
}
DOCUMENTS = {
    "GET /docs": ANYONE,
    "GET /docs/oauth2-redirect": ANYONE,
    "GET /openapi.json": ANYONE,
}
DEVELOPMENT = INFERENCES | PROBES | OPERATIONS | DOCUMENTS
PRODUCTION_DATA = INFERENCES | PROBES
PRODUCTION_ADMIN = PROBES | OPERATIONS


def edge_of(app: Any) -> Edge:
    assert isinstance(app, Edge)
    return app


def api_of(edge: Edge) -> FastAPI:
    rest = edge._rest
    assert isinstance(rest, FastAPI)
    return rest


def walked(edge: Edge) -> Iterator[tuple[str, str]]:
    """Method and path of every route of a listener, whatever its kind."""
    yield from (("POST", path) for path in edge._inference)
    for route in iter_route_contexts(api_of(edge).routes):
        assert route.methods, f"{route.path} answers to no method"
        assert route.path_format
        if not route.path_format.startswith(ADMINISTRATION):
            yield from ((method, route.path_format) for method in route.methods - {"HEAD"})


async def allowed(edge: Edge) -> dict[str, set[str]]:
    """For every route, the roles that it does not refuse."""
    table: dict[str, set[str]] = {}
    async with client(edge, key=None) as http:
        for method, path in walked(edge):
            name, body = f"{method} {path}", CHAT if method == "POST" else None
            table[name] = set()
            for role, headers in ROLES.items():
                url = path.format(model="chat")
                answer = await http.request(method, url, headers=headers, json=body)
                assert answer.status_code in {200, 400, 401, 503}, (name, answer.status_code)
                if answer.status_code != 401:
                    table[name].add(role)
    return table


@pytest.fixture
async def development(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def production(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path, **PRODUCTION) as gateway:
        yield gateway


async def test_in_development_each_route_lets_in_whom_it_should(development: Gateway) -> None:
    assert development.admin is None
    assert await allowed(edge_of(development.data)) == DEVELOPMENT


async def test_in_production_operations_have_a_listener_of_their_own(production: Gateway) -> None:
    assert await allowed(edge_of(production.data)) == PRODUCTION_DATA
    assert await allowed(edge_of(production.admin)) == PRODUCTION_ADMIN


@pytest.mark.parametrize("path", sorted(OPERATIONS | DOCUMENTS))
async def test_in_production_operations_are_not_on_the_data_listener(
    production: Gateway, path: str
) -> None:
    async with client(production.data) as http:
        answer = await http.get(path.removeprefix("GET "), headers=bearer(TOKEN))
    assert answer.status_code == 404


def test_the_table_of_inference_routes_is_the_one_that_is_dispatched(
    development: Gateway,
) -> None:
    edge = edge_of(development.data)

    assert {route.path for route in INFERENCE} == set(edge._inference)
    assert {route.access for route in INFERENCE} == {"caller"}


def test_the_gate_of_a_route_says_what_the_walk_finds(development: Gateway) -> None:
    roles = {"anyone": ANYONE, "caller": {"caller"}, "operator": {"operator"}}
    every = api_routes(api_of(edge_of(development.data)).routes)
    found = [route for route in every if not str(route.path_format).startswith(ADMINISTRATION)]

    for route in found:
        (gate,) = gates_of(route)
        assert route.methods
        (method,) = route.methods
        assert roles[gate.access] == DEVELOPMENT[f"{method} {route.path_format}"]
    assert len(found) == len(PROBES | OPERATIONS) + 4


# Gates


def gated(gate: Gate) -> APIRouter:
    router = APIRouter()

    @router.get("/open", dependencies=[Depends(gate)])
    async def answer() -> None:
        """A route."""

    return router


async def asked(gate: Gate, *headers: tuple[str, str | bytes]) -> int:
    api = create_api([gated(gate)], docs=False)
    async with client(api, key=None) as http:
        encoded = [(n.encode(), v if isinstance(v, bytes) else v.encode()) for n, v in headers]
        return (await http.get("/open", headers=encoded)).status_code


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer  {TOKEN}", 200),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("", 401),
        (f"Bearer {KEY}", 401),
    ],
)
async def test_the_operator_is_told_by_the_token_as_a_bearer(header: str, status: int) -> None:
    gate = OperatorGate(SecretStr(TOKEN), public=False)

    assert await asked(gate, ("authorization", header)) == status


@pytest.mark.parametrize("header", ["Bearer ", "Bearer", "", "Bearer x"])
async def test_nobody_is_the_operator_where_no_token_is_set(header: str) -> None:
    gate = OperatorGate(SecretStr(""), public=False)

    assert await asked(gate, ("authorization", header)) == 401
    assert await asked(gate) == 401


@pytest.mark.parametrize(
    ("token", "status"), [("first", 200), ("second", 200), ("firstsecond", 401), ("", 401)]
)
async def test_each_of_the_operators_tokens_will_do(token: str, status: int) -> None:
    gate = OperatorGate(SecretStr("first"), SecretStr(""), SecretStr("second"), public=False)

    assert await asked(gate, ("authorization", f"Bearer {token}")) == status


async def test_what_is_public_needs_no_token() -> None:
    assert await asked(OperatorGate(SecretStr(""), public=True)) == 200
    assert await asked(OperatorGate(SecretStr(TOKEN), public=True)) == 200


async def test_a_token_of_other_letters_is_compared_and_not_a_failure() -> None:
    gate = OperatorGate(SecretStr(TOKEN), public=False)

    assert await asked(gate, ("authorization", b"Bearer \xe9\xff")) == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", f"Bearer {KEY}")], 200),
        ([("x-api-key", KEY)], 200),
        ([("api-key", KEY)], 200),
        ([("authorization", f"Bearer {KEY}"), ("x-api-key", KEY)], 200),
        ([("authorization", f"Bearer {KEY}"), ("x-api-key", UNKNOWN_KEY)], 400),
        ([("authorization", f"Bearer {UNKNOWN_KEY}")], 401),
        ([("authorization", f"Bearer {KEY}x")], 401),
        ([("authorization", f"Basic {KEY}")], 401),
        ([], 401),
    ],
)
async def test_a_caller_is_told_by_the_key(headers: list[tuple[str, str]], status: int) -> None:
    tenants = (await asyncio.to_thread(configured)).tenants
    gate = CallerGate(Access(ConfiguredKeys(tenants, b"pepper"), Peppers(b"pepper")))

    assert await asked(gate, *headers) == status


@pytest.mark.parametrize(
    ("scopes", "networks", "status"),
    [
        (["usage:read"], [], 200),
        (["inference"], [], 403),
        (["usage:read"], ["127.0.0.0/8"], 200),
        (["usage:read"], ["10.0.0.0/8"], 403),
    ],
)
async def test_a_gate_asks_for_the_scope_of_its_route_and_tells_where_the_caller_is(
    scopes: list[str], networks: list[str], status: int
) -> None:
    key = {"name": "ci", "key": KEY, "scopes": scopes, "networks": networks}
    tenant = TenantSettings.model_validate({"keys": [key]})
    gate = CallerGate(
        Access(ConfiguredKeys({"acme": tenant}, b"pepper"), Peppers(b"pepper")), "usage:read"
    )

    assert await asked(gate, ("authorization", f"Bearer {KEY}")) == status
