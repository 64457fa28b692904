"""Two administrators at once: one change is made, and the other hears that it came too late."""

import asyncio
from collections import Counter

import httpx
import pytest

from gateway.store.database import Database
from tests.support.administration import Office, office_of
from tests.support.world import KEYS, World

T = "/admin/v1/tenants"
OLD = KEYS["acme"].public_id


@pytest.fixture
async def world(office: Office) -> World:
    made = World(office)
    await made.make()
    return made


async def raced(*requests: httpx.Request, clients: tuple[httpx.AsyncClient, ...]) -> list[int]:
    """The statuses of requests that are sent together, each by another replica in turn."""
    sent = [clients[number % len(clients)].send(request) for number, request in enumerate(requests)]
    return sorted(answer.status_code for answer in await asyncio.gather(*sent))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"{T}/acme", {"title": "x"}),
        ("PATCH", f"{T}/acme/projects/p-acme", {"title": "x"}),
        ("PATCH", f"{T}/acme/keys/{OLD}", {"disabled": True}),
        ("PATCH", "/admin/v1/plans/of-acme", {"limits": {}}),
        ("PATCH", "/admin/v1/operators/adam", {"disabled": True}),
    ],
)
async def test_of_edits_of_one_version_one_is_made(
    world: World, database: Database, method: str, path: str, body: dict[str, object]
) -> None:
    another = office_of(database)  # with locks and caches of its own, as another replica has
    before = len(await world.office.events())
    async with world.office.client() as one, another.client() as two:
        tag = (await one.get(path)).headers["etag"]
        edits = [
            one.build_request(method, path, json=body, headers={"if-match": tag}) for _ in range(6)
        ]
        statuses = await raced(*edits, clients=(one, two))
        after = (await one.get(path)).headers["etag"]

    assert statuses == [200] + [412] * 5
    assert after == f'"{int(tag.strip(chr(34))) + 1}"'
    assert len(await world.office.events()) == before + 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (T, {"id": "new"}),
        (f"{T}/acme/projects", {"id": "new"}),
        (f"{T}/acme/keys", {"name": "new"}),
        ("/admin/v1/plans", {"name": "new", "limits": {}}),
    ],
)
async def test_what_is_made_at_once_under_one_name_is_made_once(
    world: World, database: Database, path: str, body: dict[str, object]
) -> None:
    another = office_of(database)
    before = len(await world.office.events())
    async with world.office.client() as one, another.client() as two:
        made = [one.build_request("POST", path, json=body) for _ in range(6)]
        statuses = await raced(*made, clients=(one, two))

    assert statuses == [201] + [409] * 5
    assert len(await world.office.events()) == before + 1


async def test_a_key_is_rotated_once(world: World, database: Database) -> None:
    another = office_of(database)
    path = f"{T}/acme/keys/{OLD}/rotate"
    async with world.office.client() as one, another.client() as two:
        rotations = [one.build_request("POST", path, json={}) for _ in range(6)]
        statuses = await raced(*rotations, clients=(one, two))

    assert statuses == [201] + [409] * 5


async def test_a_plan_is_deleted_or_given_to_somebody_and_never_both(
    world: World, database: Database
) -> None:
    another = office_of(database)
    outcomes: Counter[tuple[int, ...]] = Counter()
    async with world.office.client() as one, another.client() as two:
        for number in range(8):
            plan = f"plan-{number}"
            await one.post("/admin/v1/plans", json={"name": plan, "limits": {}})
            insist = {"if-match": "*"}
            requests = [
                one.build_request("DELETE", f"/admin/v1/plans/{plan}", headers=insist),
                two.build_request("PATCH", f"{T}/acme", json={"plan": plan}, headers=insist),
            ]
            answers = await asyncio.gather(one.send(requests[0]), two.send(requests[1]))
            outcomes[tuple(answer.status_code for answer in answers)] += 1

    assert set(outcomes) <= {(204, 400), (409, 200)}
