import json

import httpx
import pytest

from gateway.admin.actor import Role
from tests.support.administration import BOOTSTRAP, PASSWORD, Office

SESSIONS, ME = "/admin/v1/sessions", "/admin/v1/me"
OPERATORS = "/admin/v1/operators"
ADAM = {"name": "adam", "password": PASSWORD}
HALF = PASSWORD + "\ud800"


@pytest.fixture
async def adam(office: Office) -> Office:
    await office.operator("adam", Role.ADMIN)
    return office


async def signed_in(office: Office, **changes: str) -> httpx.Response:
    async with office.client(token=None) as http:
        return await http.post(SESSIONS, json={**ADAM, **changes})


async def me(office: Office, token: str) -> httpx.Response:
    async with office.client(token) as http:
        return await http.get(ME)


async def test_a_password_is_exchanged_for_a_token_that_no_cache_keeps(adam: Office) -> None:
    answer = await signed_in(adam)

    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    told = answer.json()
    assert told["expires"] == "2026-01-31T12:15:00Z"
    assert told["actor"] == {"object": "actor", "name": "adam", "role": "admin"}
    assert (await me(adam, told["token"])).json() == told["actor"]


async def test_a_refusal_says_neither_which_nor_repeats_what(adam: Office) -> None:
    wrong = [
        await signed_in(adam, password="wrong horse battery"),
        await signed_in(adam, name="nobody"),
        await signed_in(adam, password="x"),
    ]

    assert {each.status_code for each in wrong} == {401}
    assert len({each.text for each in wrong}) == 1
    assert wrong[0].json()["error"]["code"] == "invalid_credentials"
    assert wrong[0].headers["x-should-retry"] == "false"


async def test_too_many_attempts_are_told_when_to_come_back(adam: Office) -> None:
    answers = [await signed_in(adam, password="wrong") for _ in range(7)]

    assert [each.status_code for each in answers] == [401] * 5 + [429] * 2
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
    assert answers[-1].json()["error"]["code"] == "too_many_attempts"
    assert len(await adam.events()) == 5


async def test_signing_out_ends_the_token(adam: Office) -> None:
    token = (await signed_in(adam)).json()["token"]
    async with adam.client(token) as http:
        assert (await http.delete(SESSIONS)).status_code == 204
        assert (await http.delete(SESSIONS)).status_code == 401
    assert (await me(adam, token)).status_code == 401


async def test_a_password_is_changed_by_who_knows_it(adam: Office) -> None:
    token = (await signed_in(adam)).json()["token"]
    async with adam.client(token) as http:
        refused = await http.put(f"{ME}/password", json={"old": "wrong", "new": "x" * 12})
        changed = await http.put(f"{ME}/password", json={"old": PASSWORD, "new": "x" * 12})

    assert (refused.status_code, changed.status_code) == (401, 204)
    assert (await me(adam, token)).status_code == 401
    assert (await signed_in(adam, password="x" * 12)).status_code == 201


async def test_the_bootstrap_token_is_nobodys_session(office: Office) -> None:
    assert (await me(office, BOOTSTRAP)).json()["name"] == "bootstrap"
    async with office.client() as http:
        out = await http.delete(SESSIONS)
        changed = await http.put(f"{ME}/password", json={"old": "x", "new": "x" * 12})
    assert [out.status_code, changed.status_code] == [409, 409]


async def test_what_is_no_sign_in_is_refused_and_not_repeated(adam: Office) -> None:
    async with adam.client(token=None) as http:
        for body in ({}, {"name": "adam"}, {**ADAM, "role": "owner"}, {**ADAM, "password": 1}):
            answer = await http.post(SESSIONS, json=body)
            assert answer.status_code == 400
            assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", SESSIONS, {"name": "adam", "password": HALF}),
        ("PUT", f"{ME}/password", {"old": PASSWORD, "new": HALF}),
        ("PUT", f"{ME}/password", {"old": HALF, "new": PASSWORD}),
        ("POST", OPERATORS, {"name": "eve", "role": "viewer", "password": HALF}),
        ("PATCH", f"{OPERATORS}/adam", {"password": HALF}),
    ],
)
async def test_a_password_with_half_a_character_is_malformed(
    adam: Office, method: str, path: str, sent: dict[str, str]
) -> None:
    headers = {"content-type": "application/json", "if-match": "*"}
    async with adam.client() as http:
        answer = await http.request(method, path, content=json.dumps(sent), headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "must be Unicode text"
