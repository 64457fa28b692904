"""What only the scripts do: leases, markers, unanswered calls, data that was lost."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from random import Random

import pytest
import redis

from gateway.limits.counts import Counts
from gateway.limits.keys import shard_keys, shard_of
from gateway.limits.model import (
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    Reservation,
    Sliding,
    Unit,
)
from gateway.limits.scripts import ENDED, KEPT, REFUSED, TAKEN, UNKNOWN, Answer, Ending, Scripts
from gateway.limits.settings import LimitsSettings
from gateway.redis import Redis
from tests.support.ticker import START, Ticker

LEASE = 15_000
LIMITS = (
    Limit("tenant:acme", "requests", 5, Sliding(bucket_ms=1000, buckets=60)),
    Limit("tenant:acme", "tokens", 1000, Sliding(bucket_ms=1000, buckets=60)),
    Limit("tenant:acme", "requests", 5, Calendar("day")),
    Limit("tenant:acme", "tokens", 1000, Calendar("day")),
    Limit("tenant:acme", "concurrency", 2, AtOnce()),
)
SHARD = shard_of("acme")

_looks = count()


@pytest.fixture
def scripts(client: Redis, ticker: Ticker) -> Scripts:
    return Scripts(client, LimitsSettings(lease=15), counts=Counts(), now=ticker)


def held(request_id: str, tokens: int = 100, limits: tuple[Limit, ...] = LIMITS) -> Reservation:
    return Reservation(request_id, "acme", limits, Amounts(tokens))


async def reserve(
    scripts: Scripts, request_id: str, tokens: int = 100, limits: tuple[Limit, ...] = LIMITS
) -> Answer:
    return await scripts.reserve(held(request_id, tokens, limits), Ask(Amounts(tokens)), 0)


async def end(scripts: Scripts, mode: str, request_id: str, tokens: int = 0) -> int:
    return (await scripts.end(Ending(held(request_id), mode, Amounts(tokens)))).how


async def renew(scripts: Scripts, *ids: str, again: bool = False) -> list[int]:
    ((_, call),) = scripts.renewals([held(each) for each in ids], again=again)
    return (await call).rest


async def expire(scripts: Scripts) -> list[int]:
    return [
        await scripts.expire(SHARD, request_id, stored)
        for request_id, stored in (await scripts.swept(SHARD))[1]
    ]


def forget(scripts: Scripts, raw: redis.Redis) -> None:
    """The store and the scripts begin anew."""
    raw.flushall()
    scripts.epochs.clear()


async def used(scripts: Scripts) -> list[int]:
    """What each limit has in use, found by a reservation that is cancelled at once."""
    name = f"look{next(_looks)}"
    wide = tuple(replace(limit, amount=10**9) for limit in LIMITS)
    answer = await reserve(scripts, name, 0, wide)
    assert answer.how == TAKEN
    await end(scripts, "C", name)
    _, *counted = answer.rest
    return [now - limit.cost(NOTHING) for now, limit in zip(counted, LIMITS, strict=True)]


async def test_a_lapsed_reservation_frees_its_place_and_what_it_had_not_used_of_the_day(
    scripts: Scripts, ticker: Ticker
) -> None:
    await reserve(scripts, "dead")
    ticker.ms += LEASE

    assert await used(scripts) == [1, 100, 1, 100, 0]
    assert await expire(scripts) == [1]
    assert await used(scripts) == [1, 100, 1, 0, 0]
    assert await expire(scripts) == []


async def test_a_late_settle_replaces_what_expiry_had_charged(
    scripts: Scripts, ticker: Ticker
) -> None:
    await reserve(scripts, "late")
    ticker.ms += LEASE
    await expire(scripts)

    assert await end(scripts, "S", "late", 70) == 2
    assert await end(scripts, "S", "late", 70) == 0
    assert await used(scripts) == [1, 70, 1, 70, 0]


async def test_overuse_that_is_settled_late_is_charged_in_full(
    scripts: Scripts, ticker: Ticker
) -> None:
    await reserve(scripts, "late")
    ticker.ms += LEASE
    await expire(scripts)

    await end(scripts, "S", "late", 170)

    assert await used(scripts) == [1, 170, 1, 170, 0]


async def test_a_cancelled_request_leaves_nothing(scripts: Scripts) -> None:
    await reserve(scripts, "gone")

    assert await end(scripts, "C", "gone", 100) == 1
    assert await used(scripts) == [0, 0, 0, 0, 0]


async def test_a_reserve_that_its_cancellation_has_overtaken_takes_nothing(
    scripts: Scripts,
) -> None:
    assert await end(scripts, "C", "slow", 0) == 4

    assert (await reserve(scripts, "slow")).how == ENDED
    assert await used(scripts) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["S", "C", "E"])
async def test_an_id_that_has_ended_is_not_reserved_again(
    scripts: Scripts, ticker: Ticker, mode: str
) -> None:
    await reserve(scripts, "once")
    if mode == "E":
        ticker.ms += LEASE
        await expire(scripts)
    else:
        await end(scripts, mode, "once", 100)

    assert (await reserve(scripts, "once")).how == ENDED


async def test_a_renewed_reservation_is_not_expired(scripts: Scripts, ticker: Ticker) -> None:
    await reserve(scripts, "alive")
    ticker.ms += LEASE
    _, found = await scripts.swept(SHARD)
    ticker.ms -= 1
    await reserve(scripts, "other")
    ticker.ms -= 1

    assert await renew(scripts, "alive") == [1]
    assert await scripts.expire(SHARD, *found[0]) == 3
    assert await used(scripts) == [2, 200, 2, 200, 2]


async def test_a_lease_that_has_ended_is_not_renewed(scripts: Scripts, ticker: Ticker) -> None:
    await reserve(scripts, "a")
    ticker.ms += 1
    await reserve(scripts, "b")
    ticker.ms += LEASE - 1

    assert await renew(scripts, "a", "b", "never") == [0, 1, 0]


async def test_a_lapsed_place_is_taken_again_while_there_is_room(
    scripts: Scripts, ticker: Ticker
) -> None:
    for name in ("a", "b"):
        await reserve(scripts, name)
    ticker.ms += LEASE
    await expire(scripts)
    await reserve(scripts, "new")

    assert await renew(scripts, "a", "b", again=True) == [2, 3]
    assert await renew(scripts, "a") == [1]
    assert await end(scripts, "S", "a", 10) == 2
    assert (await used(scripts))[-1] == 1


async def test_a_place_taken_again_ends_with_its_lease_too(
    scripts: Scripts, ticker: Ticker
) -> None:
    await reserve(scripts, "a")
    ticker.ms += LEASE
    await expire(scripts)
    await renew(scripts, "a", again=True)
    ticker.ms += LEASE

    assert await expire(scripts) == [0]
    assert (await scripts.swept(SHARD))[1] == []
    assert (await used(scripts))[-1] == 0


async def test_settling_what_the_store_has_lost_charges_the_day(
    scripts: Scripts, raw: redis.Redis
) -> None:
    await reserve(scripts, "lost")
    forget(scripts, raw)

    assert await end(scripts, "S", "lost", 70) == UNKNOWN
    assert await end(scripts, "S", "lost", 70) == 0
    assert await used(scripts) == [0, 0, 1, 70, 0]


async def test_nothing_is_kept_of_tenants_that_are_gone(scripts: Scripts, raw: redis.Redis) -> None:
    await reserve(scripts, "a")
    await reserve(scripts, "b")
    await renew(scripts, "a", "b")
    await end(scripts, "S", "a", 200)
    await end(scripts, "S", "b", 0)

    lasting = {key for key in raw.scan_iter() if raw.pttl(key) == -1}

    assert lasting == {shard_keys(SHARD)[2]}


async def test_leases_promised_by_a_clock_that_was_given_up_end_in_time(
    scripts: Scripts, ticker: Ticker
) -> None:
    ticker.ms += 3_600_000
    for name in ("a", "b"):
        await reserve(scripts, name)
    ticker.ms -= 3_600_000
    assert (await reserve(scripts, "c")).how == REFUSED
    assert scripts.counts.clock_resets == 1

    ticker.ms += LEASE

    assert (await reserve(scripts, "d")).how == TAKEN
    assert await expire(scripts) == [1, 1]


@pytest.mark.parametrize("first", ["settle", "renew", "reserve"])
async def test_whoever_gives_up_a_clock_says_so(
    scripts: Scripts, ticker: Ticker, first: str
) -> None:
    ticker.ms += 60_001
    await reserve(scripts, "a")
    ticker.ms -= 60_001

    match first:
        case "settle":
            await end(scripts, "S", "a", 1)
        case "renew":
            assert await renew(scripts, "a") == [1]
        case _:
            await reserve(scripts, "b")

    assert scripts.counts.clock_resets == 1


@pytest.mark.parametrize("unit", ["day", "month"])
async def test_the_scripts_know_the_calendar(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker, unit: Unit
) -> None:
    calendar, chance = Calendar(unit), Random(3)
    limits = (Limit("tenant:acme", "requests", 1, calendar),)
    leap_day = int(datetime(2028, 2, 29, 12, tzinfo=UTC).timestamp()) * 1000
    century = int(datetime(2100, 2, 28, 12, tzinfo=UTC).timestamp()) * 1000
    drawn = [chance.randrange(16_000_000_000_000) for _ in range(60)]
    for some in (1, START, leap_day, century, *drawn):
        forget(scripts, raw)
        ends = calendar.period(some)[1]
        for now in (ends - 1, ends):
            ticker.ms = now
            assert (await reserve(scripts, f"a{now}", 0, limits)).how == TAKEN
            refusal = await reserve(scripts, f"b{now}", 0, limits)
            assert (refusal.how, refusal.now) == (REFUSED, now)
            assert refusal.rest == [1, calendar.resets_in(now), [], 1]


async def test_layouts_are_remembered_but_not_without_end(scripts: Scripts) -> None:
    for number in range(KEPT + 1):
        scripts._layout(f"t{number}", ())

    assert len(scripts._layouts) == 1


@pytest.fixture
def unclocked(client: Redis) -> Scripts:
    return Scripts(client, LimitsSettings(lease=15), counts=Counts())


async def test_without_a_clock_of_ours_redis_tells_the_time(unclocked: Scripts) -> None:
    before = datetime.now(UTC).timestamp() * 1000

    now = (await reserve(unclocked, "a")).now

    assert before - 1000 < now < before + 60_000
    assert (await unclocked.swept(SHARD))[1] == []
