"""
Row 55: the same `Idempotency-Key` twice, at once or afterwards, at one gateway or at two that share
a Redis. One upstream call, the same answer for all, billed once.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from typing import Any

import httpx
import openai
import pytest

from gateway.store.ledger_rows import Row
from gateway.store.migrate import migrate
from tests.support.databases import postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.system.fleet import SLOW, Fleet, fleet, secret
from tests.system.world import Gateway, Json, bearer, chat, data, until

__all__ = ["postgres_server"]

DUPLICATES = 50
EACH = 1_000_000
"""Nano-dollars of a request, whatever its tokens, at the flat price."""
BUDGET = 10_000_000_000
SLOWLY: Json = {"kind": "delay", "after": 3, "seconds": 0.5}
"""So that whoever comes at the same time comes while the first one runs."""
LEASE = 3.0
"""Seconds: so long that no gateway stands still, on a machine with other work."""

RACING = ("whole", "streamed")
TENANTS = (*RACING, "later", "other", "failing", "dying", "leaving", "sdk", "outage")

_keys = count()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, postgres_server: PostgresServer
) -> Iterator[Fleet]:
    name = postgres_server.new_database()
    asyncio.run(migrate(postgres_server.url_of(name)))
    plans: Json = {
        tenant: {"budget": "10 USD/month", "on_store_error": {"budget": "i_accept_unlimited_spend"}}
        for tenant in TENANTS
    }
    with fleet(
        tmp_path_factory.mktemp("repeats"),
        plans,
        redis=redis.url,
        database=postgres_server.url_of(name),
        prices={"input": 0, "output": 0, "request": "0.001"},
        count=2,
        model={"retries": {"attempts": 1}},
        idempotency={"lease": LEASE},
    ) as gateways:
        yield gateways
    postgres_server.drop_database(name)


@pytest.fixture
def pair(shared: Fleet) -> Iterator[Fleet]:
    """Two gateways that nobody has asked for anything; afterwards they hold nothing."""
    shared.upstream.fresh()
    yield shared
    for each in shared.gateways[:2]:
        until(each.is_idle, within=SLOW)


def new_key() -> dict[str, str]:
    """A header of its own."""
    return {"idempotency-key": f"order-{next(_keys)}"}


def asked(pair: Fleet) -> int:
    """Requests that the upstream has seen since it is fresh."""
    return sum(each["method"] == "POST" for each in pair.upstream.requests())


def send(
    pair: Fleet, tenant: str, bodies: Sequence[Json], headers: dict[str, str]
) -> list[httpx.Response]:
    """A caller for each body, all at once, at one gateway after the other; what they were told."""

    async def all_of_them() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            headers=bearer(secret(tenant)) | headers,
            verify=False,
            timeout=60,
            limits=httpx.Limits(max_connections=None),
        ) as client:
            urls = [f"{each.url}/v1/chat/completions" for each in pair.gateways[:2]]
            calls = (client.post(urls[n % 2], json=body) for n, body in enumerate(bodies))
            return await asyncio.gather(*calls)

    return asyncio.run(all_of_them())


def only_row(pair: Fleet, tenant: str) -> Row:
    """The one that the ledger has of the tenant."""
    [row] = pair.rows_when(tenant, 1)
    return row


@pytest.mark.parametrize("how", RACING)
def test_55_of_50_duplicates_at_two_gateways_one_is_run_and_billed_and_all_get_its_answer(
    pair: Fleet, how: str
) -> None:
    pair.upstream.faults(SLOWLY)
    bodies = [chat(stream=how == "streamed")] * DUPLICATES

    answers = send(pair, how, bodies, new_key())

    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    if how == "streamed":
        assert data(answers[0].text)[-1] == "[DONE]"
    assert asked(pair) == 1
    assert len({each.headers["x-request-id"] for each in answers}) == DUPLICATES
    [first] = [each for each in answers if "idempotent-replayed" not in each.headers]
    repeats = [each for each in answers if each is not first]
    assert {each.headers["idempotent-replayed"] for each in repeats} == {"true"}
    assert {each.headers["x-lockgate-original-request-id"] for each in repeats} == {
        first.headers["x-request-id"]
    }
    row = only_row(pair, how)
    assert (row.request_id, row.cost) == (first.headers["x-request-id"], EACH)
    for by in range(2):
        assert pair.remaining(how, "money", "month", by=by) == BUDGET - EACH


def test_55_a_repeat_gets_the_stored_answer_at_either_gateway_and_a_line_in_its_log(
    pair: Fleet,
) -> None:
    for stream in (False, True):
        key = new_key()
        first, *_ = send(pair, "later", [chat(stream=stream)], key)
        repeats = send(pair, "later", [chat(stream=stream)] * 4, key)

        assert {each.content for each in repeats} == {first.content}
        for number, each in enumerate(repeats):
            record = pair.gateways[number % 2].record(each.headers["x-request-id"])
            assert (record["outcome"], record["attempts"]) == ("ok", [])
            assert (record["tenant"], record["model"]) == ("later", "chat")
    assert asked(pair) == 2
    assert len(pair.rows_when("later", 2)) == 2


def test_55_another_body_under_the_same_key_is_a_409_at_either_gateway(pair: Fleet) -> None:
    key = new_key()
    send(pair, "other", [chat()], key)

    for each in send(pair, "other", [chat(seed=1)] * 2, key):
        assert each.status_code == 409
        assert each.json()["error"]["code"] == "idempotency_key_reused"
        assert each.headers["x-should-retry"] == "false"
    assert asked(pair) == 1


def test_55_when_the_first_fails_one_of_those_that_wait_is_run_for_all_others(pair: Fleet) -> None:
    pair.upstream.faults({"kind": "status", "status": 503, "times": 1}, SLOWLY)

    answers = send(pair, "failing", [chat()] * 12, new_key())

    told = Counter(each.status_code for each in answers)
    assert told == {502: 1, 200: 11}
    assert len({each.content for each in answers if each.status_code == 200}) == 1
    assert asked(pair) == 2
    rows = pair.rows_when("failing", 2)
    assert sorted(row.cost for row in rows) == [0, EACH]
    assert len(rows) == 2


def test_55_when_the_gateway_of_the_first_is_killed_another_runs_it_after_the_lease(
    pair: Fleet,
) -> None:
    pair.upstream.faults({"kind": "stall", "after": 3, "times": 1})
    doomed, key = pair.start(), new_key()
    with closing(_sent(doomed, "dying", chat(stream=True), key)):
        until(lambda: asked(pair) == 1, within=SLOW)
        doomed.kill()

        answers = send(pair, "dying", [chat(stream=True)] * 4, key)

    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    assert asked(pair) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", [0, 1])
def test_55_a_client_that_hung_up_comes_back_to_the_answer_of_its_first_request(
    pair: Fleet, stream: bool, by: int
) -> None:
    pair.upstream.faults(SLOWLY)
    before, key = len(pair.rows("leaving")), new_key()
    with closing(_sent(pair.gateways[by], "leaving", chat(stream=stream), key)):
        until(lambda: asked(pair) == 1, within=SLOW)

    repeat, *_ = send(pair, "leaving", [chat(stream=stream)], key)

    assert repeat.status_code == 200
    assert repeat.headers["idempotent-replayed"] == "true"
    assert asked(pair) == 1
    row = next(
        row
        for row in pair.rows_when("leaving", before + 1)
        if row.request_id == repeat.headers["x-lockgate-original-request-id"]
    )
    assert (row.outcome, row.cost, row.usage_source) == ("ok", EACH, "measured")


def test_55_openais_sdk_gets_the_same_answer_for_the_same_key(pair: Fleet) -> None:
    with openai.OpenAI(api_key=secret("sdk"), base_url=f"{pair.gateways[0].url}/v1") as sdk:
        key = new_key()
        messages: list[Any] = [{"role": "user", "content": "Hello!"}]
        whole = [
            sdk.chat.completions.create(model="chat", messages=messages, extra_headers=key)
            for _ in range(2)
        ]
        key = new_key()
        streams = [
            [
                chunk.model_dump()
                for chunk in sdk.chat.completions.create(
                    model="chat", messages=messages, stream=True, extra_headers=key
                )
            ]
            for _ in range(2)
        ]
        with pytest.raises(openai.ConflictError) as refused:
            sdk.chat.completions.create(model="chat", messages=messages, extra_headers=key)

    assert refused.value.code == "idempotency_key_reused"
    assert whole[0] == whole[1]
    assert streams[0] == streams[1] != []
    assert asked(pair) == 2


def test_55_a_redis_that_is_gone_fails_nobody_and_is_told_once_at_each_gateway(
    pair: Fleet, redis: RedisServer
) -> None:
    redis.kill()
    try:
        keys = [new_key() for _ in range(3)]
        for key in keys:
            told = send(pair, "outage", [chat()] * 2, key)
            assert {each.status_code for each in told} == {200}
        assert asked(pair) == 6  # at each gateway one
        for key in keys:
            again = send(pair, "outage", [chat()] * 2, key)
            assert {each.headers["idempotent-replayed"] for each in again} == {"true"}
        assert asked(pair) == 6
        for each in pair.gateways[:2]:
            until(partial(_has_told, each, "idempotency_store_unreachable"))
    finally:
        redis.start()
    until(lambda: _share(pair), within=SLOW)


def _share(pair: Fleet) -> bool:
    """Whether the gateways know of each other's answers."""
    key = new_key()
    send(pair, "outage", [chat()], key)
    repeats = send(pair, "outage", [chat()] * 2, key)
    return all("idempotent-replayed" in each.headers for each in repeats)


def _has_told(process: Gateway, event: str) -> bool:
    """Once, and no more."""
    return len(process.records(event)) == 1


def _sent(process: Gateway, tenant: str, body: Json, headers: dict[str, str]) -> socket.socket:
    """A client that has sent its request and may leave."""
    address = httpx.URL(process.url)
    content = httpx.Request("POST", process.url, json=body).content  # `send`'s bytes, too
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: gateway",
        "content-type: application/json",
        f"content-length: {len(content)}",
        *(f"{name}: {value}" for name, value in (bearer(secret(tenant)) | headers).items()),
    ]
    connected = socket.create_connection((address.host, address.port or 0))
    connected.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
    return connected
