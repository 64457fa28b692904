"""
Stores go away under load, in every way that they can. Meanwhile each kind of limit does what its
plan says; afterwards the ledger has every admitted request once, and counters agree with it.
"""

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest
from redis import Redis

from gateway.store.migrate import migrate
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.system.fleet import MOVE, SLOW, Fleet, fleet, secret, used
from tests.system.world import Gateway, Json, bearer, chat, until

OUTAGE = 2.0
"""Seconds."""
NOTICED = 0.8
"""Seconds after which every gateway knows of an outage, or that it is over."""
SHARE = 20
"""What `local` leaves each of two gateways."""
BUDGET = 10_000_000_000
"""Nano-dollars."""

PLANS: Json = {
    "refusing": {"budget": "10 USD/month"},
    "sharing": {"requests": f"{2 * SHARE}/day", "on_store_error": {"requests": "local"}},
    "allowing": {"requests": "1000000/day", "on_store_error": {"requests": "allow"}},
}


@dataclass(frozen=True)
class Answer:
    """What a caller was told, and when it had asked and heard."""

    asked: float
    heard: float
    by: int
    status: int
    code: str
    request_id: str


@dataclass
class Load:
    """Callers of each tenant at each gateway, until they are told to stop."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def call(self, process: Gateway, by: int, tenant: str) -> None:
        told = self.answers[tenant]
        with httpx.Client(headers=bearer(secret(tenant)), verify=False, timeout=30) as client:
            while not self._stop.wait(0.02):
                asked = time.monotonic()
                body = chat(max_tokens=8)
                answer = client.post(f"{process.url}/v1/chat/completions", json=body)
                code = "" if answer.status_code == 200 else answer.json()["error"]["code"]
                name = answer.headers["x-request-id"]
                heard = time.monotonic()
                told.append(Answer(asked, heard, by, answer.status_code, code, name))

    def between(self, tenant: str, start: float, end: float) -> list[Answer]:
        return [each for each in self.answers[tenant] if start < each.asked and each.heard < end]


@contextmanager
def load(gateways: Fleet, tenants: list[str]) -> Iterator[Load]:
    """Callers at work."""
    made = Load({tenant: [] for tenant in tenants})
    callers = [
        threading.Thread(target=made.call, args=(process, by, tenant))
        for by, process in enumerate(gateways.gateways)
        for tenant in tenants
    ]
    for caller in callers:
        caller.start()
    try:
        yield made
    finally:
        made._stop.set()
        for caller in callers:
            caller.join(60)


# What can happen to Redis


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def emptied(server: RedisServer) -> Iterator[None]:
    server.kill()
    shutil.rmtree(server.directory / "appendonlydir")
    yield
    server.start()


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    with Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", 1)
        yield
        client.replicaof("NO", "ONE")


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


EVENTS = {each.__name__: each for each in (killed, emptied, paused, read_only, full)}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--maxmemory-policy", "noeviction") as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, postgres: PostgresServer
) -> Iterator[Fleet]:
    asyncio.run(migrate(postgres.url))
    plans = {
        f"{policy}-{event.replace('_', '-')}": plan
        for policy, plan in PLANS.items()
        for event in (*EVENTS, "sql")
    }
    with fleet(
        tmp_path_factory.mktemp("outage"),
        plans,
        redis=redis.url,
        database=postgres.url,
        prices={"input": "3.10", "output": "12.70"},
        count=2,
        limits={"deadline": "250ms", "max_replicas": 2},
    ) as gateways:
        yield gateways


@pytest.mark.parametrize("event", EVENTS)
def test_without_redis_every_plan_does_as_it_says_and_nothing_is_lost(
    pair: Fleet, redis: RedisServer, event: str
) -> None:
    refusing, sharing, allowing = tenants = [
        f"{policy}-{event.replace('_', '-')}" for policy in PLANS
    ]
    with load(pair, tenants) as calls:
        time.sleep(NOTICED)
        began = time.monotonic()
        with EVENTS[event](redis):
            gone = time.monotonic()
            time.sleep(OUTAGE)
            ended = time.monotonic()
        until(lambda: is_back(pair, refusing), within=SLOW)
        time.sleep(NOTICED)

    away = (began + NOTICED, ended)
    refused = calls.between(refusing, *away)
    assert {each.status for each in refused} == {503}
    assert {each.code for each in refused} == {"limits_unavailable"}
    for by in range(2):
        # Not sooner: until Redis was gone, it may have admitted one of what it had left.
        mine = [each for each in calls.between(sharing, gone, ended) if each.by == by]
        assert sum(each.status == 200 for each in mine) <= SHARE
        assert {each.status for each in calls.between(sharing, *away)} <= {200, 429}
    assert {each.status for each in calls.between(allowing, *away)} == {200}
    # Callers hear a little later than their rows were handed to it.
    in_its_stream = (began - 3 * MOVE, gone + MOVE) if event == "emptied" else None
    everything_is_accounted_for(pair, calls, lost=in_its_stream)


def test_without_sql_requests_go_on_and_the_ledger_catches_up(
    pair: Fleet, postgres: PostgresServer
) -> None:
    tenants = [f"{policy}-sql" for policy in PLANS]
    with load(pair, tenants) as calls:
        time.sleep(NOTICED)
        began = time.monotonic()
        postgres.kill()
        time.sleep(2 * OUTAGE)
        ended = time.monotonic()
        postgres.start()
        time.sleep(NOTICED)

    for tenant in ("refusing-sql", "allowing-sql"):
        assert {each.status for each in calls.between(tenant, began, ended)} == {200}
    everything_is_accounted_for(pair, calls)


def is_back(pair: Fleet, tenant: str) -> bool:
    """Whether both gateways tell how a limit stands, which they can not without Redis."""
    with suppress(httpx.HTTPError):
        return all(pair.remaining(tenant, "money", "month", by=by) for by in range(2))
    return False


def everything_is_accounted_for(
    pair: Fleet, calls: Load, *, lost: tuple[float, float] | None = None
) -> None:
    """
    Each request that was answered has one row, and the budget has been charged for them.

    Rows that a Redis had not handed on when it lost all it had are lost with it: those of
    requests that were answered in the moments `lost`.
    """
    for tenant, answers in calls.answers.items():
        admitted = {each.request_id for each in answers if each.status == 200}
        assert admitted
        may_miss = {each.request_id for each in answers if lost and lost[0] < each.heard < lost[1]}
        rows = pair.rows_when(tenant, len(admitted - may_miss))
        final = {row.request_id for row in rows if not row.provisional}
        assert final <= admitted
        assert admitted - final <= may_miss
        assert len(rows) == len({row.request_id for row in rows})
    [spender] = (tenant for tenant in calls.answers if tenant.startswith("refusing"))
    spent = used(pair.rows(spender)).cost
    until(lambda: pair.remaining(spender, "money", "month") == BUDGET - spent, within=SLOW)
