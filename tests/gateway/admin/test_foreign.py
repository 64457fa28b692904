"""
Object access by tenant and id: whatever is another tenant's is as if it were nobody's.

Every route is asked with every combination of ids, the own one's, the other's and nobody's.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.gates import api_routes
from gateway.store.tables import keys, ledger, operators, plans, projects, tenants
from tests.support.administration import PASSWORD, Office
from tests.support.world import KEYS, World

OWN, OTHER, NOBODYS = "own", "other", "nobody's"
IDS = {
    "tenant": {OWN: "acme", OTHER: "other", NOBODYS: "missing"},
    "project": {OWN: "p-acme", OTHER: "p-other", NOBODYS: "p-missing"},
    "key": {OWN: KEYS["acme-old"].public_id, OTHER: KEYS["other"].public_id, NOBODYS: "0" * 12},
    "plan": {OWN: "of-acme", OTHER: "of-other", NOBODYS: "of-nobody"},
    "operator": {OWN: "anna", OTHER: "otto-other", NOBODYS: "nobody"},
}
BODIES: dict[str, dict[str, Any]] = {
    "/sessions": {"name": "{operator}", "password": "wrong"},
    "/config/reload": {},
    "/me/password": {"old": "wrong", "new": PASSWORD},
    "/operators": {"name": "new", "password": PASSWORD, "role": "admin", "tenant": "{tenant}"},
    "/operators/{operator}": {"role": "admin", "tenant": "{tenant}"},
    "/plans": {"name": "{plan}", "limits": {}},
    "/plans/{plan}": {"limits": {}},
    "/tenants": {"id": "{tenant}", "plan": "{plan}"},
    "/tenants/{tenant}": {"plan": "{plan}"},
    "/tenants/{tenant}/erase": {"confirm": "{tenant}"},
    "/tenants/{tenant}/projects": {"id": "new", "plan": "{plan}"},
    "/tenants/{tenant}/projects/{project}": {"plan": "{plan}"},
    "/tenants/{tenant}/keys": {"name": "new", "project": "{project}", "plan": "{plan}"},
    "/tenants/{tenant}/keys/{key}": {"project": "{project}", "plan": "{plan}"},
    "/tenants/{tenant}/keys/{key}/rotate": {},
}
QUERIES: dict[str, dict[str, str]] = {
    "/operators": {"tenant": "{tenant}"},
    "/tenants": {"plan": "{plan}"},
    "/tenants/{tenant}/keys": {"project": "{project}"},
    "/audit": {"tenant": "{tenant}", "id": "{project}"},
    "/usage": {"tenant": "{tenant}", "project": "{project}", "key": "{key}"},
    "/ledger": {"tenant": "{tenant}", "project": "{project}", "key": "{key}"},
}
PLACE = re.compile(r"\{(\w+)\}")
SHOWS = ("other", KEYS["other"].public_id)
"""No answer to the first tenant has any of it, but for what was asked."""


def filled(text: str, ids: dict[str, str]) -> str:
    return PLACE.sub(lambda found: ids[found[1]], text)


def sent_to(method: str, path: str) -> dict[str, Any]:
    """The query or the body of a request, ids to be filled in."""
    short = path.removeprefix("/admin/v1")
    if method == "DELETE":
        return {}
    return QUERIES.get(short, {}) if method == "GET" else BODIES[short]


def asked(office: Office) -> Iterator[tuple[str, str, set[str]]]:
    """Method, path and the kinds of id of every route."""
    for route in api_routes(office.api.routes):
        path = route.path_format or ""
        for method in route.methods or ():
            sent = sent_to(method, path)
            texts = [path, *(each for each in sent.values() if isinstance(each, str))]
            yield method, path, {found for text in texts for found in PLACE.findall(text)}


async def call(
    http: httpx.AsyncClient, method: str, path: str, ids: dict[str, str]
) -> httpx.Response:
    template = sent_to(method, path)
    sent = {k: filled(v, ids) if isinstance(v, str) else v for k, v in template.items()}
    return await http.request(
        method,
        filled(path, ids),
        params=sent if method == "GET" else None,
        json=sent if method not in {"GET", "DELETE"} else None,
        headers={"if-match": "*"},
    )


async def others(world: World) -> list[Any]:
    """All that the database has of the other tenant."""
    chosen = (
        select(tenants).where(tenants.c.id == "other"),
        select(projects).where(projects.c.tenant == "other"),
        select(keys).where(keys.c.tenant == "other"),
        select(operators).where(operators.c.tenant == "other"),
        select(ledger).where(ledger.c.tenant == "other"),
        select(plans),
    )
    async with world.office.database.reading() as connection:
        return [(await connection.execute(each)).all() for each in chosen]


@pytest.fixture
async def world(office: Office) -> World:
    made = World(office)
    await made.make()
    return made


async def test_what_is_another_tenants_can_be_neither_read_nor_changed(world: World) -> None:
    before = await others(world)
    tried = 0
    for method, path, kinds in asked(world.office):
        if (method, path) == ("DELETE", "/admin/v1/sessions"):
            continue  # about nobody but oneself
        for whose in product((OWN, OTHER, NOBODYS), repeat=len(kinds)):
            if OTHER not in whose:
                continue
            ids = {k: IDS[k][w] for k, w in zip(sorted(kinds), whose, strict=True)}
            async with world.office.client(await world.token("own admin")) as http:
                answer = await call(http, method, path, ids)
            tried += 1
            assert answer.status_code in {400, 401, 403, 404, 429} or (
                # A filter by what is another's finds nothing.
                method == "GET" and answer.json()["data"] == []
            ), (method, path, ids, answer.text)
            shown = answer.text
            for given in ids.values():
                shown = shown.replace(given, "")
            assert not any(each in shown for each in SHOWS), (method, path, ids, answer.text)
    assert tried > 100
    assert await others(world) == before


async def test_what_is_another_tenants_is_refused_like_what_is_nobodys(world: World) -> None:
    for method, path, kinds in asked(world.office):
        if path in {"/admin/v1/sessions", "/admin/v1/me/password"}:
            continue  # throttled alike, whoever it is
        for kind in kinds:
            answers = set()
            for whose in (OTHER, NOBODYS):
                ids = {each: IDS[each][OWN] for each in kinds} | {kind: IDS[kind][whose]}
                async with world.office.client(await world.token("own admin")) as http:
                    answer = await call(http, method, path, ids)
                text = answer.text.replace(ids[kind], "")
                answers.add((answer.status_code, text))
            assert len(answers) == 1, (method, path, kind, answers)


async def test_lists_show_the_own_tenants_alone(world: World) -> None:
    async with world.office.client(await world.token("own viewer")) as http:
        for path in ("tenants", "plans", "audit", "ledger", "usage?group_by=tenant"):
            answer = await http.get(f"/admin/v1/{path}")
            assert answer.status_code == 200
            assert "acme" in answer.text
            assert not any(each in answer.text for each in SHOWS), (path, answer.text)


async def test_the_world_has_what_they_must_not_see(world: World) -> None:
    async with world.office.client(await world.token("viewer")) as http:
        for path in ("tenants", "plans", "audit", "ledger", "usage?group_by=tenant"):
            assert "other" in (await http.get(f"/admin/v1/{path}")).text
