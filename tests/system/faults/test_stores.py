"""
Rows 58 to 68 and 74, where no other test shows them: two gateways on a Redis behind a door and a
PostgreSQL, while these fail under running requests.
"""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from redis import Redis
from sqlalchemy import text

from gateway.store.database import Database
from gateway.store.migrate import migrate
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.system.faults.front import Front
from tests.system.faults.upstreams import Stage
from tests.system.fleet import BUSY, Fleet, fleet, rush, secret, used
from tests.system.world import (
    OPERATOR,
    Gateway,
    Json,
    ask,
    bearer,
    chat,
    gateway,
    post,
    settings,
    until,
)

LEASE = 3.0
PATIENCE = 40.0
"""Seconds for what is not promised any time, while the machine has other work."""
STREAMS = 60
BUDGET = 1_000_000_000
"""Nano-dollars."""
HELD = 2.0
"""Seconds that streams pause."""
PLANS: Json = {
    "streams": {"budget": "1 USD/month", "concurrency": STREAMS},
    "slowly": {"requests": "1000000/day", "on_store_error": {"requests": "allow"}},
    "refusing": {"budget": "1 USD/month"},
    "allowing": {"requests": "1000000/day", "on_store_error": {"requests": "allow"}},
    "writes": {"budget": "1 USD/month"},
    "waits": {"budget": "1 USD/month"},
    "single": {"budget": "1 USD/month", "concurrency": 1},
}


@dataclass
class Pair:
    """All that there is."""

    fleet: Fleet
    redis: RedisServer
    front: Front
    postgres: PostgresServer

    @property
    def first(self) -> Gateway:
        return self.fleet.gateways[0]

    def stories(self, tenant: str, count: int) -> "Stories":
        return Stories(self.first, tenant, count)

    def ask(self, tenant: str, *, by: int = 0) -> httpx.Response:
        return post(self.fleet.gateways[by], chat(max_tokens=8), **bearer(secret(tenant)))

    def health(self, by: int) -> Json:
        url = f"{self.fleet.gateways[by].url}/health/"
        told: Json = ask("GET", url, headers=bearer(OPERATOR)).json()
        return told

    def redis_is(self, status: str) -> bool:
        told = [self.health(by)["components"]["redis"]["status"] for by in range(2)]
        return set(told) == {status}

    def is_accounted_for(self, tenant: str, ids: list[str]) -> None:
        """Each of these requests has one row, no other has, and the budget agrees."""
        rows = self.fleet.rows_when(tenant, len(ids), within=PATIENCE)
        assert sorted(row.request_id for row in rows) == sorted(ids)
        assert not [row for row in rows if row.provisional]
        if "budget" in PLANS[tenant]:
            left = BUDGET - used(rows).cost

            def agrees() -> bool:
                with suppress(httpx.HTTPError):  # another gateway may not have found Redis yet
                    return self.fleet.remaining(tenant, "money", "month") == left
                return False

            until(agrees, within=PATIENCE)


class Stories:
    """Streams that pause in the midst, of callers on one loop in this thread."""

    def __init__(self, process: Gateway, tenant: str, count: int) -> None:
        self.ids: list[str] = []
        self.ends: list[str] = []
        """The data of each stream's last event."""
        self._url = f"{process.url}/v1/chat/completions"
        self._headers = bearer(secret(tenant))
        self._count = count

    async def run(self) -> None:
        """All of them to their ends."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            headers=self._headers, verify=False, timeout=60, limits=limits
        ) as client:
            await asyncio.gather(*(self._tell(client) for _ in range(self._count)))

    async def _tell(self, client: httpx.AsyncClient) -> None:
        body = chat(stream=True, max_tokens=30)
        async with client.stream("POST", self._url, json=body) as answer:
            assert answer.status_code == 200
            self.ids.append(answer.headers["x-request-id"])
            lines = [line async for line in answer.aiter_lines() if line]
        self.ends.append(lines[-1].removeprefix("data: "))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with (
        Stage() as stage,
        RedisServer("--appendonly", "yes", "--appendfsync", "always") as redis,
        PostgresServer() as postgres,
    ):
        asyncio.run(migrate(postgres.url))
        front = Front(stage, redis)
        with fleet(
            tmp_path_factory.mktemp("stores"),
            PLANS,
            redis=front.url,
            database=postgres.url,
            prices={"input": "3.10", "output": "12.70"},
            count=2,
            limits={"deadline": "2s", "lease": LEASE, "max_replicas": 2},
        ) as gateways:
            yield Pair(gateways, redis, front, postgres)


def test_59_redis_dies_and_every_running_stream_finishes(pair: Pair) -> None:
    pair.fleet.upstream.faults({"kind": "delay", "after": 3, "seconds": HELD})
    stories = pair.stories("streams", STREAMS)

    async def tell() -> None:
        running = asyncio.ensure_future(stories.run())
        async with asyncio.timeout(PATIENCE):
            while len(stories.ids) < STREAMS:  # noqa: ASYNC110 - counted elsewhere
                await asyncio.sleep(0.01)
        pair.redis.kill()
        await running

    asyncio.run(tell())

    assert stories.ends == ["[DONE]"] * STREAMS
    refused = pair.ask("streams")
    assert refused.json()["error"]["code"] == "limits_unavailable"
    assert refused.headers["retry-after"] == "1"
    pair.redis.start()
    pair.fleet.upstream.faults()
    until(lambda: pair.redis_is("up"), within=PATIENCE)
    pair.is_accounted_for("streams", stories.ids)
    left = pair.fleet.remaining("streams", "concurrency", "at once")
    assert left == STREAMS


def test_61_a_slow_redis_is_left_alone_and_sql_hears_nothing_of_it(pair: Pair) -> None:
    before = pair.first.metrics()
    pair.front.says(latency=3.0)
    until(lambda: pair.redis_is("down"), within=PATIENCE)
    pair.front.asked.clear()

    began = time.monotonic()
    answers = rush(pair.fleet, "slowly", [chat(max_tokens=4)] * 100)
    probes = 2 * (time.monotonic() - began) + 4

    assert {each.status_code for each in answers} == {200}
    assert pair.front.asked["evalsha"] + pair.front.asked["eval"] == 0
    assert pair.front.asked["ping"] <= probes  # one a second, of each gateway
    name = "lockgate_key_look_ups_total"
    assert pair.first.metrics()[name] == before[name]
    pair.front.says()
    until(lambda: pair.redis_is("up"), within=PATIENCE)
    pair.is_accounted_for("slowly", [each.headers["x-request-id"] for each in answers])


ANSWERS = {
    "MOVED": b"-MOVED 3999 127.0.0.1:9\r\n",
    "ASK": b"-ASK 3999 127.0.0.1:9\r\n",
    "TRYAGAIN": b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "CLUSTERDOWN": b"-CLUSTERDOWN The cluster is down\r\n",
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "MASTERDOWN": b"-MASTERDOWN Link with MASTER is down\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "MISCONF": b"-MISCONF Redis is configured to save RDB snapshots\r\n",
    "NOREPLICAS": b"-NOREPLICAS Not enough good replicas to write.\r\n",
    "BUSY": b"-BUSY Redis is busy running a script.\r\n",
    "NOAUTH": b"-NOAUTH Authentication required.\r\n",
    "no-redis": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


def test_62_whatever_a_failing_over_redis_answers_the_policy_holds_and_it_is_found_again(
    pair: Pair,
) -> None:
    ids: dict[str, list[str]] = {"refusing": [], "allowing": []}
    for case, answer in ANSWERS.items():
        pair.front.says(answer)
        refused, allowed = pair.ask("refusing"), pair.ask("allowing")
        pair.front.says()

        assert (refused.status_code, allowed.status_code) == (503, 200), case
        assert refused.json()["error"]["code"] == "limits_unavailable", case
        ids["allowing"].append(allowed.headers["x-request-id"])

        def is_admitted() -> bool:
            told = pair.ask("refusing")
            if told.status_code == 200:
                ids["refusing"].append(told.headers["x-request-id"])
            return told.status_code == 200

        until(is_admitted, within=PATIENCE)
    for tenant, each in ids.items():
        pair.is_accounted_for(tenant, each)


def test_65_a_redis_that_evicts_is_told_of_in_health_metrics_and_log(pair: Pair) -> None:
    def detail(by: int) -> str:
        return str(pair.health(by)["components"]["redis"]["detail"])

    with Redis.from_url(pair.redis.url) as operator:
        operator.config_set("maxmemory-policy", "allkeys-lru")
        operator.config_set("maxmemory", "100mb")
        pair.front.says()
        until(lambda: all("allkeys-lru" in detail(by) for by in range(2)), within=PATIENCE)
        assert pair.redis_is("degraded")
        assert pair.health(0)["status"] == "degraded"
        assert ask("GET", f"{pair.first.url}/health/ready").status_code == 200
        assert pair.first.metrics()["lockgate_redis_evicts"] == 1

        operator.config_set("maxmemory-policy", "noeviction")
        pair.front.says()
        until(lambda: pair.redis_is("up"), within=PATIENCE)
        operator.config_set("maxmemory", "0")
    for each in pair.fleet.gateways:
        [warned] = each.records("redis_evicts")
        assert (warned["level"], warned["policy"]) == ("warning", "allkeys-lru")
    assert pair.first.metrics()["lockgate_redis_evicts"] == 0


def test_65_production_does_not_start_on_a_redis_that_evicts(tmp_path: Path) -> None:
    with (
        RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru") as store,
        pytest.raises(AssertionError, match="maxmemory-policy is volatile-lru") as raised,
        gateway(
            tmp_path,
            settings({"sim": "http://127.0.0.1:9"}),
            LOCKGATE_REDIS_URL=store.url,
            LOCKGATE_ENVIRONMENT="production",
            LOCKGATE_ADMIN_LISTEN="127.0.0.1:0",
        ),
    ):
        pytest.fail("it has started")
    assert "Traceback" not in str(raised.value)


DAWDLE = """
CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END'
"""
DAWDLING = """
CREATE TRIGGER dawdle BEFORE INSERT ON ledger FOR EACH STATEMENT EXECUTE FUNCTION dawdle()
"""


def test_68_a_slow_sql_keeps_no_request_waiting_and_gets_every_row(pair: Pair) -> None:
    asyncio.run(_run_sql(pair.postgres.url, DAWDLE.format(seconds=0.5), DAWDLING))
    waited = []
    try:
        answers = []
        for _ in range(10):
            answers += rush(pair.fleet, "writes", [chat(max_tokens=4)] * 6)
            waited.append(_waiting(pair))
        assert {each.status_code for each in answers} == {200}
        assert max(queued for _, queued in waited) == 0, "rows waited in the process"
        assert max(rows for rows, _ in waited) > 0, "no row waited in Redis"
    finally:
        asyncio.run(_run_sql(pair.postgres.url, DAWDLE.format(seconds=0)))
    pair.is_accounted_for("writes", [each.headers["x-request-id"] for each in answers])


def test_68_a_sql_that_stands_still_keeps_no_request_waiting_either(pair: Pair) -> None:
    assert pair.ask("waits").status_code == 200  # the ledger has been asked what was used before
    answers = []
    for _ in range(2):
        pair.postgres.freeze()
        try:
            answers += rush(pair.fleet, "waits", [chat(max_tokens=4)] * 20)
        finally:
            pair.postgres.thaw()
    assert {each.status_code for each in answers} == {200}
    rows = pair.fleet.rows_when("waits", 41)
    assert len({row.request_id for row in rows}) == len(rows) == 41


def test_74_a_gateway_that_stood_still_for_a_lease_ends_what_it_no_longer_holds(
    pair: Pair,
) -> None:
    still, other = pair.fleet.gateways
    pair.fleet.upstream.faults({"kind": "stall", "after": 3})
    headers = bearer(secret("single"))
    with httpx.Client(headers=headers, verify=False, timeout=60) as client:
        url = f"{still.url}/v1/chat/completions"
        body = chat(stream=True, max_tokens=30)
        with client.stream("POST", url, json=body) as held:
            lines = held.iter_lines()
            assert "role" in next(lines)
            assert post(other, chat(max_tokens=4), **headers).status_code == 429

            still.process.send_signal(signal.SIGSTOP)
            try:
                pair.fleet.upstream.faults()
                taken: list[httpx.Response] = []

                def is_free() -> bool:
                    taken.append(post(other, chat(max_tokens=4), **headers))
                    return taken[-1].status_code == 200

                until(is_free, within=LEASE + 1 + BUSY)
            finally:
                still.process.send_signal(signal.SIGCONT)
            told = [line.removeprefix("data: ") for line in lines if line]
    assert json.loads(told[-1])["error"]["code"] == "lease_lost"
    assert "[DONE]" not in told
    name = 'lockgate_limiter_events_total{event="lost"}'
    until(lambda: still.metrics()[name] == 1)
    pair.is_accounted_for(
        "single", [held.headers["x-request-id"], taken[-1].headers["x-request-id"]]
    )
    assert pair.fleet.remaining("single", "concurrency", "at once") == 1


def _waiting(pair: Pair) -> tuple[int, float]:
    """Rows in Redis, and bytes of them in a process."""
    with Redis.from_url(pair.redis.url) as client:
        rows = sum(client.xlen(key) for key in client.scan_iter("lg1:*:led"))
    told = [each.metrics() for each in pair.fleet.gateways]
    return rows, sum(each["lockgate_ledger_queued_bytes"] for each in told)


async def _run_sql(url: str, *statements: str) -> None:
    async with Database(url) as database, database.writing() as connection:
        for each in statements:
            await connection.execute(text(each))
