"""Administration works on the gateway's own stores, and its changes reach the data plane."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    CONFIG,
    KEY,
    TOKEN,
    bearer,
    client,
    running,
)
from tests.support.simulator import eventually, running_simulator

PLANS = "/admin/v1/plans"
TENANTS = "/admin/v1/tenants"
LEDGER = "/admin/v1/ledger?tenant=acme"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with (
        running_simulator(answer_tokens=2) as sim,
        running(tmp_path, sim=sim.url) as gateway,
    ):
        yield gateway


@pytest.fixture
async def admin(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client(gateway, key=TOKEN) as http:
        yield http


async def made(admin: httpx.AsyncClient, path: str, **body: object) -> httpx.Response:
    answer = await admin.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer


async def key_of_a_new_tenant(admin: httpx.AsyncClient, **limits: object) -> str:
    await made(admin, PLANS, name="own", limits=limits)
    await made(admin, TENANTS, id="acme", plan="own", models=["chat"])
    key = (await made(admin, f"{TENANTS}/acme/keys", name="ci")).json()["key"]
    assert isinstance(key, str)
    return key


async def asked(gateway: Gateway, key: str) -> int:
    async with client(gateway, key=key) as http:
        return (await http.post(CHAT_PATH, json=CHAT)).status_code


async def settled(gateway: Gateway, key: str, status: int) -> None:
    """Until the key is answered so: changes are known everywhere within a second."""

    async with asyncio.timeout(5):
        while await asked(gateway, key) != status:  # noqa: ASYNC110 - the answer sets no event
            await asyncio.sleep(0.05)


async def test_a_key_that_was_made_works_and_is_held_to_its_plan(
    gateway: Gateway, admin: httpx.AsyncClient
) -> None:
    key = await key_of_a_new_tenant(admin, requests="2/hour")

    await settled(gateway, key, 200)
    await settled(gateway, key, 429)


async def test_a_plan_that_was_changed_holds_for_keys_that_were_used_before(
    gateway: Gateway, admin: httpx.AsyncClient
) -> None:
    key = await key_of_a_new_tenant(admin, requests="1000/hour")
    await settled(gateway, key, 200)

    changed = await admin.patch(
        f"{PLANS}/own", json={"limits": {"requests": "1/hour"}}, headers={"if-match": "*"}
    )

    assert changed.status_code == 200, changed.text
    await settled(gateway, key, 429)


async def test_a_tenant_that_was_suspended_is_told_and_comes_back(
    gateway: Gateway, admin: httpx.AsyncClient
) -> None:
    key = await key_of_a_new_tenant(admin)
    await settled(gateway, key, 200)

    for suspended, status in ((True, 403), (False, 200)):
        body, insist = {"suspended": suspended}, {"if-match": "*"}
        answer = await admin.patch(f"{TENANTS}/acme", json=body, headers=insist)
        assert answer.status_code == 200, answer.text
        await settled(gateway, key, status)


async def test_what_the_configuration_file_says_is_shown_and_only_changed_there(
    admin: httpx.AsyncClient,
) -> None:
    shown = (await admin.get(f"{TENANTS}/wide")).json()
    refused = await admin.delete(f"{TENANTS}/wide", headers={"if-match": "*"})

    assert shown["source"] == "file"
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "read_only")


async def test_without_a_secret_tokens_of_one_process_are_nothing_to_the_next(
    tmp_path: Path,
) -> None:
    tokens = []
    for _ in range(2):
        async with running(tmp_path) as gateway, client(gateway, key=TOKEN) as admin:
            body = {"name": "ann", "password": "a long enough password", "role": "owner"}
            await admin.post("/admin/v1/operators", json=body)
            signed = await admin.post(
                "/admin/v1/sessions", json={"name": "ann", "password": body["password"]}
            )
            tokens.append(signed.json()["token"])
            answers = [
                (await admin.get(PLANS, headers=bearer(token))).status_code for token in tokens
            ]
    assert answers == [401, 200]


async def test_a_key_of_inference_administers_nothing(gateway: Gateway) -> None:
    async with client(gateway, key=KEY) as http:
        assert (await http.get(PLANS)).status_code == 401


@pytest.mark.parametrize(
    ("http", "told"), [("", "127.0.0.1"), ("http: {trusted_proxies: [127.0.0.0/8]}\n", "192.0.2.7")]
)
async def test_who_signs_in_comes_from_where_a_trusted_proxy_says(
    tmp_path: Path, http: str, told: str
) -> None:
    sent = {"name": "ann", "password": "x"}
    said = {"x-forwarded-for": "198.51.100.1, 192.0.2.7"}
    async with (
        running(tmp_path, CONFIG + http) as gateway,
        client(gateway, key=TOKEN) as admin,
    ):
        refused = await admin.post("/admin/v1/sessions", json=sent, headers=said)
        events = (await admin.get("/admin/v1/audit")).json()["data"]

    assert refused.status_code == 401
    assert [event["after"] for event in events] == [{"address": told}]


async def test_what_scrapes_the_metrics_administers_nothing(tmp_path: Path) -> None:
    async with (
        running(tmp_path, metrics_token="what scrapes") as gateway,
        client(gateway, key="what scrapes") as http,
    ):
        answers = [(await http.get(path)).status_code for path in ("/metrics", PLANS)]

    assert answers == [200, 401]


@pytest.mark.parametrize(("policy", "is_cut"), [("cut", True), ("finish", False)])
async def test_a_stream_of_a_key_that_is_disabled_ends_as_the_configuration_says(
    tmp_path: Path, policy: str, is_cut: bool
) -> None:
    text = CONFIG + f"access: {{on_revoke: {policy}}}\n"
    async with (
        running_simulator(answer_tokens=50, tokens_per_second=25) as sim,
        running(tmp_path, text, sim=sim.url) as gateway,
        client(gateway, key=TOKEN) as admin,
    ):
        key = await key_of_a_new_tenant(admin)
        await settled(gateway, key, 200)
        async with client(gateway, key=key) as http, asyncio.TaskGroup() as tasks:
            before = sim.state()["completion_tokens"]
            streaming = tasks.create_task(http.post(CHAT_PATH, json={**CHAT, "stream": True}))
            await eventually(lambda: sim.state()["completion_tokens"] > before + 5, within=5)
            body, insist = {"disabled": True}, {"if-match": "*"}
            path = f"{TENANTS}/acme/keys/{key[3:15]}"
            assert (await admin.patch(path, json=body, headers=insist)).status_code == 200
        answer = streaming.result()
        await settled(gateway, key, 401)
        async with asyncio.timeout(5):
            while len(rows := (await admin.get(LEDGER)).json()["data"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    assert answer.status_code == 200
    assert ("access_revoked" in answer.text) is is_cut
    assert ("[DONE]" in answer.text) is not is_cut
    assert rows[0]["outcome"] == ("cut" if is_cut else "ok")
