"""What a process puts back once the store has lost it."""

from random import Random

import pytest
import redis

from gateway.contract.errors import LimitsUnavailable
from gateway.limits.keys import shard_of
from gateway.limits.model import (
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    OnStoreError,
    Reservation,
    Sliding,
    Standings,
)
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import Redis
from tests.support.ticker import Ticker

TEN = Sliding(bucket_ms=1000, buckets=10)
LIMITS = (
    Limit("tenant:acme", "requests", 10, TEN),
    Limit("tenant:acme", "tokens", 1000, TEN),
    Limit("tenant:acme", "tokens", 1000, Calendar("day")),
    Limit("tenant:acme", "concurrency", 2, AtOnce()),
)
GRACE = 2000


def process(client: Redis, ticker: Ticker, policy: OnStoreError = "refuse") -> RedisLimiter:
    settings = LimitsSettings(on_store_error=policy)
    return RedisLimiter(client, settings, clock=ticker.seconds, now=ticker, random=Random(1))


@pytest.fixture
def one(client: Redis, ticker: Ticker) -> RedisLimiter:
    return process(client, ticker)


@pytest.fixture
def other(client: Redis, ticker: Ticker) -> RedisLimiter:
    return process(client, ticker)


@pytest.fixture
def lenient(client: Redis, ticker: Ticker) -> RedisLimiter:
    return process(client, ticker, "allow")


async def take(limiter: RedisLimiter, name: str, tokens: int = 100) -> Reservation:
    return await limiter.reserve(name, "acme", LIMITS, Ask(Amounts(tokens)), note=b"{}")


def left(standings: Standings) -> list[int]:
    return [standing.remaining for standing in standings]


async def test_each_process_puts_back_its_windows_and_what_it_has_open(
    one: RedisLimiter, other: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    await one.settle(await take(one, "settled"), Amounts(30))
    await take(one, "mine", 50)
    await take(other, "theirs", 7)
    raw.flushall()

    for limiter in (one, other, one):
        await limiter._leases.sweep()
    ticker.ms += GRACE

    assert left(await one.standings("acme", LIMITS)) == [7, 913, 943, 0]
    assert (one.counts.restored, other.counts.restored) == (1, 1)


async def test_until_all_may_have_put_theirs_back_the_policy_for_an_outage_holds(
    one: RedisLimiter,
    other: RedisLimiter,
    lenient: RedisLimiter,
    raw: redis.Redis,
    ticker: Ticker,
) -> None:
    await take(one, "a")
    raw.flushall()

    with pytest.raises(LimitsUnavailable):
        await take(one, "b")
    with pytest.raises(LimitsUnavailable):  # nor one that knows of nothing
        await take(other, "c")
    await take(lenient, "d")
    assert lenient.counts.allowed_unseen == 1
    ticker.ms += GRACE

    assert left((await take(other, "e")).standings)[0] == 8


async def test_what_was_put_back_is_settled_like_anything_else(
    one: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    held = await take(one, "a")
    ticker.ms += 1500
    raw.flushall()
    await one._leases.renew()
    ticker.ms += GRACE

    await one.settle(held, Amounts(20))

    assert not held.lost
    assert left(await one.standings("acme", LIMITS)) == [9, 980, 980, 2]
    assert one.counts.late == 0


async def test_what_is_put_back_without_a_place_goes_on_and_the_overlap_is_counted(
    one: RedisLimiter, other: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    held = await take(one, "a")
    raw.flushall()
    await other.reserve("b", "acme", LIMITS[3:], Ask(Amounts()))
    await other.reserve("c", "acme", LIMITS[3:], Ask(Amounts()))

    await one._leases.sweep()

    assert (held.lost, one.counts.overlaps) == (False, 1)
    assert left(await one.standings("acme", LIMITS))[3] == 0


async def test_a_process_that_dies_leaves_its_restored_requests_to_the_ledger(
    one: RedisLimiter, other: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    held = await take(one, "a")
    held.progress = lambda: Amounts(40, 0)
    raw.flushall()
    await one._leases.sweep()
    ticker.ms += 15_000

    await other._leases.sweep()

    ((_, row),) = raw.xrange(f"lg1:{{s{shard_of('acme')}}}:led")
    assert row == {"how": "E", "id": "a", "row": "{}", "tokens": "40", "cost": "0"}


async def test_windows_are_put_back_once_however_often_a_shard_is_looked_at(
    one: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    await take(one, "a")
    raw.flushall()
    for _ in range(3):
        await one._leases.sweep()
        await one._leases.renew()
    ticker.ms += GRACE

    assert left(await one.standings("acme", LIMITS)) == [9, 900, 900, 1]


async def test_what_was_raised_before_the_loss_comes_back_as_it_was(
    one: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    held = await take(one, "a")
    ticker.ms += 3000
    await one.extend(held, Amounts(160))
    raw.flushall()
    await one._leases.sweep()

    assert left(await one.standings("acme", LIMITS)) == [9, 840, 840, 1]
    await one.settle(held, Amounts(60))
    assert left(await one.standings("acme", LIMITS)) == [9, 940, 940, 2]
