"""
Every route that changes something leaves exactly one audit row, and no answer shows a secret.

The routes come from the application itself: one without a request here fails.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.gates import api_routes
from gateway.store import tables
from tests.support.administration import BOOTSTRAP, PASSWORD, PEPPERS, SECRET, Office
from tests.support.world import KEYS, World

NEW_PASSWORD = "another correct horse battery"
KEY, OLD = KEYS["acme"].public_id, KEYS["acme-old"].public_id


@dataclass(frozen=True)
class Sent:
    """A request that succeeds, and whose it is."""

    path: str
    json: dict[str, Any] | None = None
    who: str = "owner"
    event: tuple[str, str, str] = ("", "", "")


T = "/admin/v1/tenants"
CHANGES = {
    # In this order: what one makes a later one may change or delete.
    "POST /admin/v1/sessions": Sent(
        "/admin/v1/sessions",
        {"name": "adam", "password": PASSWORD},
        who="nobody",
        event=("sign_in", "session", "adam"),
    ),
    "POST /admin/v1/plans": Sent(
        "/admin/v1/plans",
        {"name": "new", "limits": {"requests": "5/second"}},
        event=("create", "plan", "new"),
    ),
    "PATCH /admin/v1/plans/{plan}": Sent(
        "/admin/v1/plans/new", {"limits": {}}, event=("update", "plan", "new")
    ),
    "DELETE /admin/v1/plans/{plan}": Sent("/admin/v1/plans/new", event=("delete", "plan", "new")),
    "POST /admin/v1/tenants": Sent(T, {"id": "new"}, event=("create", "tenant", "new")),
    "PATCH /admin/v1/tenants/{tenant}": Sent(
        f"{T}/new", {"title": "New"}, event=("update", "tenant", "new")
    ),
    "DELETE /admin/v1/tenants/{tenant}": Sent(f"{T}/new", event=("delete", "tenant", "new")),
    "POST /admin/v1/tenants/{tenant}/erase": Sent(
        f"{T}/other/erase", {"confirm": "other"}, event=("erase", "tenant", "other")
    ),
    "POST /admin/v1/tenants/{tenant}/projects": Sent(
        f"{T}/acme/projects", {"id": "new"}, who="own admin", event=("create", "project", "new")
    ),
    "PATCH /admin/v1/tenants/{tenant}/projects/{project}": Sent(
        f"{T}/acme/projects/new",
        {"title": "New"},
        who="own admin",
        event=("update", "project", "new"),
    ),
    "DELETE /admin/v1/tenants/{tenant}/projects/{project}": Sent(
        f"{T}/acme/projects/new", who="own admin", event=("delete", "project", "new")
    ),
    "POST /admin/v1/tenants/{tenant}/keys": Sent(
        f"{T}/acme/keys", {"name": "new"}, who="own admin", event=("create", "key", "")
    ),
    "PATCH /admin/v1/tenants/{tenant}/keys/{key}": Sent(
        f"{T}/acme/keys/{KEY}", {"disabled": True}, who="own admin", event=("update", "key", KEY)
    ),
    "POST /admin/v1/tenants/{tenant}/keys/{key}/rotate": Sent(
        f"{T}/acme/keys/{KEY}/rotate", {}, who="own admin", event=("rotate", "key", KEY)
    ),
    "DELETE /admin/v1/tenants/{tenant}/keys/{key}": Sent(
        f"{T}/acme/keys/{OLD}", who="own admin", event=("delete", "key", OLD)
    ),
    "POST /admin/v1/config/reload": Sent(
        "/admin/v1/config/reload", event=("reload", "config", "5e8f" * 3)
    ),
    "POST /admin/v1/operators": Sent(
        "/admin/v1/operators",
        {"name": "new", "password": NEW_PASSWORD, "role": "viewer"},
        event=("create", "operator", "new"),
    ),
    "PATCH /admin/v1/operators/{operator}": Sent(
        "/admin/v1/operators/new",
        {"password": PASSWORD, "disabled": True},
        event=("update", "operator", "new"),
    ),
    "DELETE /admin/v1/operators/{operator}": Sent(
        "/admin/v1/operators/new", event=("delete", "operator", "new")
    ),
    "PUT /admin/v1/me/password": Sent(
        "/admin/v1/me/password",
        {"old": PASSWORD, "new": NEW_PASSWORD},
        who="viewer",
        event=("change_password", "operator", "vera"),
    ),
    "DELETE /admin/v1/sessions": Sent(
        "/admin/v1/sessions", who="admin", event=("sign_out", "operator", "adam")
    ),
}
READS = {
    "{tenant}": "acme",
    "{project}": "p-acme",
    "{key}": KEY,
    "{plan}": "of-acme",
    "{operator}": "anna",
}
ONCE = {
    "POST /admin/v1/sessions",
    "POST /admin/v1/tenants/{tenant}/keys",
    "POST /admin/v1/tenants/{tenant}/keys/{key}/rotate",
}
"""The answers that show a secret, this once."""


@pytest.fixture
async def world(office: Office) -> AsyncIterator[World]:
    made = World(office)
    await made.make()
    yield made
    async with office.view() as view:
        assert (await office.audit.verify(view.connection)).bad is None


def routes(office: Office) -> set[str]:
    found = api_routes(office.api.routes)
    return {f"{method} {route.path_format}" for route in found for method in route.methods or ()}


async def ask(world: World, route: str) -> httpx.Response:
    method, path = route.split(" ")
    for place, value in READS.items():
        path = path.replace(place, value)
    sent = CHANGES.get(route, Sent(path))
    async with world.office.client(await world.token(sent.who)) as http:
        return await http.request(method, sent.path, json=sent.json, headers={"if-match": "*"})


def test_every_route_that_changes_something_is_tried_here(office: Office) -> None:
    assert {route for route in routes(office) if not route.startswith("GET ")} == CHANGES.keys()


async def test_each_change_leaves_exactly_one_audit_row(world: World) -> None:
    for route, sent in CHANGES.items():
        before = await world.office.events()
        answer = await ask(world, route)
        after = await world.office.events()

        assert answer.is_success, (route, answer.text)
        assert len(after) == len(before) + 1, route
        action, kind, name = sent.event
        assert (after[-1]["action"], after[-1]["kind"]) == (action, kind)
        assert after[-1]["object"] == (name or answer.json()["id"])


async def test_reading_leaves_none(world: World) -> None:
    before = await world.office.events()
    for route in sorted(routes(world.office)):
        if route.startswith("GET "):
            answer = await ask(world, route)
            assert answer.status_code == 200, (route, answer.text)

    assert await world.office.events() == before


async def test_a_refused_change_leaves_none(world: World) -> None:
    world.office.faults = ("gateway.yaml:3: models: it is empty.",)
    before = await world.office.events()
    async with world.office.client(await world.token("owner")) as http:
        for sent in CHANGES.values():
            for headers in ({}, {"if-match": '"999"'}):
                bad = {**(sent.json or {}), "unknown": 1} if sent.json is not None else None
                answer = await http.post(sent.path, json=bad, headers=headers)
                assert answer.status_code in {400, 404, 405}, answer.text

    assert await world.office.events() == before


async def test_only_three_answers_show_a_secret_and_no_cache_keeps_them(world: World) -> None:
    shown: dict[str, list[str]] = {}
    for route in [*CHANGES, *sorted(routes(world.office) - CHANGES.keys())]:
        answer = await ask(world, route)
        assert answer.is_success, (route, answer.text)
        if route in ONCE:
            assert answer.headers["cache-control"] == "no-store"
            secret = answer.json().get("key") or answer.json()["token"]
            shown.setdefault(secret, [])
        shown = {
            secret: [*where, *([route] if secret in answer.text + str(answer.headers) else [])]
            for secret, where in shown.items()
        }
        assert not any(each in answer.text for each in await secrets_of(world)), route
        assert not re.search(r"digest|password_hash|\$argon2|pepper", answer.text), route

    assert sorted(where for (where,) in shown.values()) == sorted(ONCE)


async def secrets_of(world: World) -> set[str]:
    """All that must never be shown."""
    async with world.office.database.reading() as connection:
        digests = (await connection.scalars(select(tables.keys.c.digest))).all()
        hashes = (await connection.scalars(select(tables.operators.c.password_hash))).all()
    keys = {key.reveal() for key in KEYS.values()}
    fixed = {PASSWORD, NEW_PASSWORD, BOOTSTRAP, SECRET, PEPPERS.current.name}
    return {*(each.hex() for each in digests), *hashes, *keys, *fixed}


async def test_the_database_has_no_secret_that_was_shown(world: World) -> None:
    shown = {PASSWORD, NEW_PASSWORD, BOOTSTRAP, SECRET}
    for route in CHANGES:
        answer = await ask(world, route)
        if route in ONCE:
            shown.add(answer.json().get("key") or answer.json()["token"])

    assert len(shown) == 7
    async with world.office.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            dumped = str((await connection.execute(select(table))).all())
            assert not any(secret in dumped for secret in shown), table.name
