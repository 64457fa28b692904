from datetime import timedelta

import pytest

from gateway.access import Key
from gateway.store.identities import Identities
from tests.support.administration import PEPPERS, START, Office

KEYS = "/admin/v1/tenants/acme/keys"


@pytest.fixture
async def acme(office: Office) -> Office:
    async with office.client() as http:
        await http.post("/admin/v1/tenants", json={"id": "acme", "models": ["chat"]})
    return office


async def verifies(office: Office, text: str) -> bool:
    """Whether what the store has of a key is what authentication compares it with."""
    key = Key.parse(text)
    assert key is not None
    found = await Identities(office.database).find([key.public_id])
    return found[key.public_id].digest == key.digest(PEPPERS.current)


async def test_a_key_is_shown_whole_once_and_never_kept_by_a_cache(acme: Office) -> None:
    async with acme.client() as http:
        made = await http.post(KEYS, json={"name": "ci", "networks": ["10.0.0.0/8"]})
        shown = await http.get(made.headers["location"])
        listed = await http.get(KEYS)

    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.headers["cache-control"] == "no-store"
    key = made.json().pop("key")
    assert await verifies(acme, key)
    assert Key.parse(key).public_id == made.json()["id"]  # type: ignore[union-attr]
    assert made.headers["location"] == f"{KEYS}/{made.json()['id']}"
    assert shown.json() == {k: v for k, v in made.json().items() if k != "key"}
    assert listed.json()["data"] == [shown.json()]
    for answer in (shown, listed):
        assert key not in answer.text


async def test_a_key_is_changed_disabled_and_revoked(acme: Office) -> None:
    async with acme.client() as http:
        path = (await http.post(KEYS, json={"name": "ci"})).headers["location"]
        expires = (START + timedelta(days=1)).isoformat()
        changed = await http.patch(
            path, json={"disabled": True, "expires": expires}, headers={"if-match": '"1"'}
        )
        late = await http.patch(path, json={"disabled": False}, headers={"if-match": '"1"'})
        disabled = await http.get(KEYS, params={"disabled": "true"})
        gone = await http.delete(path, headers={"if-match": '"2"'})
        again = await http.delete(path, headers={"if-match": "*"})

    assert (changed.json()["disabled"], changed.json()["version"]) == (True, 2)
    assert changed.json()["expires"] == "2026-02-01T12:00:00Z"
    assert late.status_code == 412
    assert len(disabled.json()["data"]) == 1
    assert (gone.status_code, again.status_code) == (204, 404)


async def test_a_rotated_key_has_a_successor_that_is_shown_once(acme: Office) -> None:
    async with acme.client() as http:
        old = await http.post(KEYS, json={"name": "ci"})
        new = await http.post(f"{old.headers['location']}/rotate", json={"overlap": 60})
        after = (await http.get(old.headers["location"])).json()

    assert (new.status_code, new.headers["cache-control"]) == (201, "no-store")
    assert new.headers["location"] == f"{KEYS}/{new.json()['id']}"
    assert after["replaced_by"] == new.json()["id"]
    assert after["expires"] == "2026-01-31T12:01:00Z"
    for answer in (old, new):
        assert await verifies(acme, answer.json()["key"])


REFUSED: tuple[tuple[dict[str, object], str], ...] = (
    ({}, "name"),
    ({"name": "a b"}, "name"),
    ({"name": "ci", "scopes": []}, "scopes"),
    ({"name": "ci", "scopes": ["admin"]}, "scopes.0"),
    ({"name": "ci", "networks": ["10.0.0.0/99"]}, "networks.0"),
    ({"name": "ci", "networks": ["10.0.0.0/8"] * 101}, "networks"),
    ({"name": "ci", "models": ["x"] * 1001}, "models"),
    ({"name": "ci", "expires": "2026-01-31T12:00:00"}, "expires"),
    ({"name": "ci", "expires": "2020-01-31T12:00:00Z"}, "expires"),
    ({"name": "ci", "digest": "00"}, "digest"),
    ({"name": "ci", "key": "lg_"}, "key"),
    ({"name": "ci", "disabled": "perhaps"}, "disabled"),
)


async def test_what_a_key_can_not_be_is_refused_by_its_name(acme: Office) -> None:
    async with acme.client() as http:
        for body, param in REFUSED:
            answer = await http.post(KEYS, json=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_no_answer_but_the_first_has_the_form_of_a_key(acme: Office) -> None:
    async with acme.client() as http:
        made = await http.post(KEYS, json={"name": "ci"})
        key = made.json()["key"]
        for answer in (
            await http.post(KEYS, json={"name": key}),
            await http.post(KEYS, json={"name": "ci", "plan": key}),
            await http.post("/admin/v1/tenants", json={"id": "new", "title": f"see {key}"}),
            await http.get(f"{KEYS}/{key}"),
        ):
            assert answer.status_code == 400
            assert key not in answer.text
    assert key not in str(await acme.events())
