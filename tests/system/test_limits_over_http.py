"""Limits as callers meet them: in one process, and on a Redis that several gateways share."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.support.redis_server import RedisServer
from tests.system.world import (
    OPERATOR,
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    chat,
    gateway,
    key,
    post,
    settings,
    simulator,
    until,
)

PLANS: Json = {
    "requests": {"requests": "3/2second"},
    "hourly": {"requests": "5/hour"},
    "tokens": {"tokens": "1000/hour"},
    "concurrency": {"concurrency": 2},
    "both": {"requests": "2/hour", "tokens": "5000/hour"},
    "raced": {"requests": "25/hour"},
    "raced-tokens": {"tokens": "1000/hour"},
    "raced-concurrency": {"concurrency": 7},
    "tight": {"tokens": "100/hour"},
}
KEYS = {name: key(seed) for seed, name in enumerate(PLANS, 100)}
RACERS = 80
HELD = 2.5
"""Seconds that an answer takes, so that nobody's place comes back while the others ask."""
MARGIN = 64
"""Tokens that are reserved beyond a request's cap."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with simulator(tmp_path_factory.mktemp("simulator")) as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _sane(upstream: Simulator) -> None:
    upstream.fresh()


def limited(upstream: Simulator, **limits: object) -> Json:
    """A configuration with a tenant under each plan."""
    config = settings({"sim": upstream.url}, limits=limits)
    config["plans"] |= PLANS
    config["tenants"] |= {
        name: {"plan": name, "models": ["*"], "keys": [{"name": "k", "key": KEYS[name]}]}
        for name in PLANS
    }
    return config


@pytest.fixture(scope="module", params=["memory", "redis"])
def process(
    request: pytest.FixtureRequest,
    upstream: Simulator,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    with ExitStack() as stack:
        variables = {}
        if request.param == "redis":
            variables["LOCKGATE_REDIS_URL"] = stack.enter_context(RedisServer()).url
        folder = tmp_path_factory.mktemp(request.param)
        # A slow machine is no outage.
        config = limited(upstream, deadline="2s")
        yield stack.enter_context(gateway(folder, config, **variables))


def call(process: Gateway, tenant: str, **fields: object) -> httpx.Response:
    return post(process, chat(**fields), **bearer(KEYS[tenant]))


def used(answer: httpx.Response) -> int:
    """Tokens, by the answer's own account."""
    total: int = answer.json()["usage"]["total_tokens"]
    return total


def test_requests_are_counted_and_the_refused_one_is_told_when_to_come_back(
    process: Gateway, upstream: Simulator
) -> None:
    answers = [call(process, "requests") for _ in range(3)]
    asked = time.monotonic()
    refused = call(process, "requests")

    assert [each.status_code for each in answers] == [200] * 3
    assert [each.headers["x-ratelimit-remaining-requests"] for each in answers] == ["2", "1", "0"]
    assert {each.headers["x-ratelimit-limit-requests"] for each in answers} == {"3"}
    assert answers[0].headers["x-ratelimit-reset-requests"].endswith("s")
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "requests"
    assert len(upstream.requests()) == 3

    wait = int(refused.headers["retry-after-ms"])
    assert 0 < wait <= 2100
    assert int(refused.headers["retry-after"]) == -(-wait // 1000)
    time.sleep(wait / 2000)
    too_early = call(process, "requests")
    if time.monotonic() < asked + wait / 1000:
        assert too_early.status_code == 429
        assert int(too_early.headers["retry-after-ms"]) < wait
    time.sleep(wait / 2000)
    assert call(process, "requests").status_code == 200


def test_what_is_refused_consumes_nothing(process: Gateway) -> None:
    before = [call(process, "both", max_tokens=1) for _ in range(2)][-1]
    for _ in range(5):
        assert call(process, "both", max_tokens=1).status_code == 429
    bad = call(process, "both", max_tokens=1, temperature=9)

    assert before.headers["x-ratelimit-remaining-requests"] == "0"
    assert bad.status_code == 400
    assert "x-ratelimit-remaining-requests" not in bad.headers


def test_a_request_that_is_malformed_or_unknown_is_not_counted(process: Gateway) -> None:
    first = call(process, "hourly")
    for fields in ({"temperature": 9}, {"model": "none"}, {"messages": "no"}):
        assert call(process, "hourly", **fields).status_code in (400, 404)
    second = call(process, "hourly")

    left = [int(each.headers["x-ratelimit-remaining-requests"]) for each in (first, second)]
    assert left[0] - left[1] == 1


def test_tokens_are_reserved_in_full_and_settled_to_what_was_used(process: Gateway) -> None:
    first = call(process, "tokens", max_tokens=300)
    second = call(process, "tokens", max_tokens=300)

    taken = 1000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert taken > 300 + MARGIN
    left = 1000 - used(first) - taken
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == left

    refused = call(process, "tokens", max_tokens=850)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "tokens"
    third = call(process, "tokens", max_tokens=300)
    left = 1000 - used(first) - used(second) - taken
    assert int(third.headers["x-ratelimit-remaining-tokens"]) == left


def test_a_stream_is_settled_to_its_usage_too(process: Gateway) -> None:
    before = int(call(process, "tokens", max_tokens=1).headers["x-ratelimit-remaining-tokens"])
    streamed = call(process, "tokens", max_tokens=1, stream=True)
    after = call(process, "tokens", max_tokens=1)

    record = process.record(streamed.headers["x-request-id"])
    spent = record["prompt_tokens"] + record["completion_tokens"]
    assert spent == used(after)
    assert before - int(after.headers["x-ratelimit-remaining-tokens"]) == 2 * spent


def test_a_request_larger_than_its_limit_is_the_requests_own_fault(process: Gateway) -> None:
    refused = call(process, "tight", max_tokens=200)

    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "request_exceeds_limit"
    assert refused.headers["x-should-retry"] == "false"


def test_requests_at_once_are_limited_and_their_places_come_back(
    process: Gateway, upstream: Simulator
) -> None:
    upstream.faults({"kind": "stall", "after": 3})
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(verify=False, timeout=10))
        url = f"{process.url}/v1/chat/completions"
        asked: Json = {"json": chat(stream=True), "headers": bearer(KEYS["concurrency"])}
        held = [stack.enter_context(client.stream("POST", url, **asked)) for _ in range(2)]
        assert [each.status_code for each in held] == [200, 200]

        refused = call(process, "concurrency")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"

    upstream.faults()
    until(lambda: call(process, "concurrency").status_code == 200)


def test_every_decision_is_counted_by_what_decided_it(process: Gateway) -> None:
    told = process.metrics()
    name = "lockgate_limit_decisions_total"
    for measure in ("requests", "tokens", "concurrency"):
        assert told[f'{name}{{decision="refused",measure="{measure}"}}'] >= 1
    assert told[f'{name}{{decision="admitted",measure="all"}}'] >= 10


# Several gateways on one Redis


@pytest.fixture(scope="module")
def pair(
    upstream: Simulator, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Gateway]]:
    config = limited(upstream, deadline="2s")
    with ExitStack() as stack:
        a, b = (
            stack.enter_context(
                gateway(tmp_path_factory.mktemp(name), config, LOCKGATE_REDIS_URL=redis.url)
            )
            for name in ("a", "b")
        )
        yield a, b


async def _race(pair: tuple[Gateway, Gateway], tenant: str, body: Json) -> Counter[int]:
    """As many callers as there are racers, at once, at either gateway; what they were told."""
    async with httpx.AsyncClient(
        headers=bearer(KEYS[tenant]), verify=False, timeout=30, limits=httpx.Limits()
    ) as client:
        calls = (
            client.post(f"{pair[number % 2].url}/v1/chat/completions", json=body)
            for number in range(RACERS)
        )
        return Counter([answer.status_code for answer in await asyncio.gather(*calls)])


async def test_of_all_who_race_exactly_as_many_as_the_limit_are_admitted(
    pair: tuple[Gateway, Gateway],
) -> None:
    assert await _race(pair, "raced", chat(max_tokens=1)) == {200: 25, 429: RACERS - 25}


async def test_places_are_shared_exactly_while_they_are_held(
    pair: tuple[Gateway, Gateway], upstream: Simulator
) -> None:
    upstream.faults({"kind": "delay", "seconds": HELD, "after": 2})
    told = await _race(pair, "raced-concurrency", chat(stream=True))
    assert told == {200: 7, 429: RACERS - 7}


async def test_tokens_are_shared_exactly_while_they_are_held(
    pair: tuple[Gateway, Gateway], upstream: Simulator
) -> None:
    alone = call(pair[0], "tokens", max_tokens=30)
    upstream.faults({"kind": "delay", "seconds": HELD, "after": 2})
    each = 1000 - int(alone.headers["x-ratelimit-remaining-tokens"])

    told = await _race(pair, "raced-tokens", chat(stream=True, max_tokens=30))

    assert told == {200: 1000 // each, 429: RACERS - 1000 // each}


def test_one_round_trip_admits_and_one_settles(upstream: Simulator, tmp_path: Path) -> None:
    """By Redis's own count, with the gateway's background work put off."""
    config = limited(upstream, deadline="2s", sweep="1h", lease="1h")
    config["plans"]["default"] = {
        "requests": "1000/minute; 5000/hour",
        "tokens": "100000/minute",
        "concurrency": 50,
    }
    with (
        RedisServer() as redis,
        gateway(tmp_path, config, LOCKGATE_REDIS_URL=redis.url) as process,
        Redis(unix_socket_path=redis.url.removeprefix("unix://")) as client,
    ):
        post(process)  # the scripts are known from now on
        process.told(1)
        calls, reads = _commands(client)
        for number in range(10):
            assert post(process, chat(stream=number % 2 == 0)).status_code == 200
        process.told(11)
        after, reads_after = _commands(client)

    asked = after - calls
    assert asked.pop("info") == 1
    # What a script calls is counted as well, under its own name; from outside came only these.
    # A flag of the tenant's, for quarantine, travels with each reservation.
    assert asked.pop("evalsha") == 3 * 10
    outside = {"eval", "script|load", "ping", "hello", "client|setinfo", "get", "multi", "exec"}
    assert not {name for name in asked if name in outside - {"get"}}
    assert reads_after - reads <= 2 * 10 + 2


def _commands(client: "Redis") -> tuple[Counter[str], int]:
    """Calls by command, and reads from sockets: each one is one side of a round trip."""
    told = client.info("all")
    assert isinstance(told, dict)
    prefix = "cmdstat_"
    calls = {
        name.removeprefix(prefix): each["calls"]
        for name, each in told.items()
        if name.startswith(prefix)
    }
    return Counter(calls), int(told["total_reads_processed"])


@pytest.mark.parametrize("policy", ["refuse", "local", "allow"])
def test_with_redis_gone_the_chosen_policy_holds(
    upstream: Simulator, tmp_path: Path, policy: str
) -> None:
    config = limited(upstream, on_store_error=policy, max_replicas=2)
    with (
        RedisServer() as store,
        gateway(tmp_path, config, LOCKGATE_REDIS_URL=store.url) as process,
    ):
        assert call(process, "hourly", max_tokens=1).status_code == 200
        store.kill()
        answers = [call(process, "hourly", max_tokens=1) for _ in range(8)]

        told = [each.status_code for each in answers]
        if policy == "refuse":
            assert told == [503] * 8
            assert answers[0].json()["error"]["code"] == "limits_unavailable"
            assert answers[0].headers["retry-after"] == "1"
            assert answers[0].headers["x-should-retry"] == "true"
        elif policy == "local":
            assert told == [200] * 2 + [429] * 6  # this process's half of five, rounded down
        else:
            assert told == [200] * 8
        until(lambda: _health(process)["components"]["redis"]["status"] == "down")
        assert ask("GET", f"{process.url}/health/ready").status_code == 200

        store.start()
        until(lambda: _health(process)["components"]["redis"]["status"] == "up", within=10)
        # It came back empty: for two sweeps the policy goes on, until all have put theirs back.
        until(lambda: _remaining(call(process, "hourly", max_tokens=1)) == 3, within=10)


def _remaining(answer: httpx.Response) -> int | None:
    """Requests left by the answer to one that was admitted."""
    left = answer.headers.get("x-ratelimit-remaining-requests")
    return int(left) if answer.status_code == 200 and left is not None else None


def _health(process: Gateway) -> Json:
    told: Json = ask("GET", f"{process.url}/health/", headers=bearer(OPERATOR)).json()
    return told
