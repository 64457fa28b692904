"""
Three gateways on one Redis and one PostgreSQL, three hundred callers at once, and a budget: what it
covers is admitted, and everybody's counts agree to the unit.
"""

from collections.abc import Iterator
from random import Random

import pytest

from tests.support.databases import postgres_name, postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.system.fleet import Fleet, fleet, rush, statuses, used
from tests.system.world import chat

__all__ = ["postgres_name", "postgres_server"]

CALLERS, COVERED, ROUNDS = 300, 100, 3
EACH = 1_000_000
"""Nano-dollars of a request, whatever its tokens, at the flat price."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def flat(
    tmp_path_factory: pytest.TempPathFactory,
    redis: RedisServer,
    postgres_server: PostgresServer,
    postgres_name: str,
) -> Iterator[Fleet]:
    """A request costs a tenth of a cent; each round's tenant may spend ten cents."""
    budget = f"{COVERED * EACH / 10**9} USD/month"
    with fleet(
        tmp_path_factory.mktemp("flat"),
        {f"round-{number}": {"budget": budget} for number in range(ROUNDS)},
        redis=redis.url,
        database=postgres_server.url_of(postgres_name),
        prices={"input": 0, "output": 0, "request": "0.001"},
    ) as gateways:
        yield gateways


def test_a_budget_that_covers_so_many_requests_admits_exactly_those(flat: Fleet) -> None:
    for number in range(ROUNDS):
        tenant, before = f"round-{number}", flat.produced()

        answers = rush(flat, tenant, [chat(max_tokens=20)] * CALLERS)

        assert statuses(answers) == {200: COVERED, 429: CALLERS - COVERED}
        refused = next(each for each in answers if each.status_code == 429)
        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert refused.headers["x-should-retry"] == "false"
        rows = flat.rows_when(tenant, COVERED)
        assert len(rows) == len({row.request_id for row in rows}) == COVERED
        after = flat.produced()
        tokens = after.tokens - before.tokens
        assert used(rows) == (after.requests - before.requests, tokens, COVERED * EACH)
        assert {flat.remaining(tenant, "money", "month", by=by) for by in range(3)} == {0}


@pytest.fixture
def priced(
    tmp_path_factory: pytest.TempPathFactory,
    redis: RedisServer,
    postgres_server: PostgresServer,
    postgres_name: str,
) -> Iterator[Fleet]:
    with fleet(
        tmp_path_factory.mktemp("priced"),
        {"spender": {"budget": "0.05 USD/month", "tokens": "1000000/day", "concurrency": 250}},
        redis=redis.url,
        database=postgres_server.url_of(postgres_name),
        prices={"input": "3.10", "output": "12.70"},
    ) as gateways:
        yield gateways


def test_ledger_counters_and_upstream_agree_to_the_unit_on_what_was_used(priced: Fleet) -> None:
    chance = Random(5)
    bodies = [
        chat(max_tokens=chance.randint(1, 60), stream=chance.random() < 0.5) for _ in range(CALLERS)
    ]

    answers = [each for _ in range(2) for each in rush(priced, "spender", bodies)]

    told = statuses(answers)
    assert set(told) == {200, 429}
    rows = priced.rows_when("spender", told[200])
    spent = used(rows)
    assert spent[:2] == priced.produced()[:2]
    assert spent.requests == len({row.request_id for row in rows}) == told[200]
    budget, tokens = 50_000_000, 1_000_000
    for by in range(3):
        assert priced.remaining("spender", "money", "month", by=by) == budget - spent.cost
        assert priced.remaining("spender", "tokens", "day", by=by) == tokens - spent.tokens
    assert spent.cost <= budget
