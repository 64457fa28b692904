"""What keeps reservations true in the background, one pass at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
import redis

from gateway.limits import leases
from gateway.limits.breaker import FAILURES, Breaker
from gateway.limits.counts import Counts
from gateway.limits.keys import shard_keys, shard_of
from gateway.limits.leases import Leases
from gateway.limits.model import NOTHING, Ask, AtOnce, Limit, Reservation
from gateway.limits.redis import RedisLimiter
from gateway.limits.scripts import RENEWED_AT_ONCE, Scripts
from gateway.limits.settings import LimitsSettings
from gateway.redis import Redis, Script, open_redis
from tests.support.paces import Paces
from tests.support.redis_server import RedisServer
from tests.support.ticker import Ticker

LEASE = 15_000
PLACES = (Limit("tenant:acme", "concurrency", 2, AtOnce()),)
MANY = (Limit("tenant:acme", "concurrency", 10_000, AtOnce()),)


async def hold(limiter: RedisLimiter, name: str, limits: tuple[Limit, ...] = PLACES) -> Reservation:
    return await limiter.reserve(name, "acme", limits, Ask(NOTHING))


@pytest.fixture
def other(shared: RedisLimiter, client: Redis, ticker: Ticker) -> RedisLimiter:
    """Another process's limiter on the same server."""
    return RedisLimiter(
        client, LimitsSettings(lease=15), clock=ticker.seconds, now=ticker, random=Random(2)
    )


@pytest.fixture
async def renewed(shared: RedisLimiter) -> Leases:
    """The leases of `shared`, having renewed once: no outage is in doubt."""
    await shared._scripts.swept(0)
    await shared._leases.renew()
    return shared._leases


async def test_a_held_lease_never_ends(
    shared: RedisLimiter, renewed: Leases, ticker: Ticker
) -> None:
    held = await hold(shared, "a")
    for _ in range(10):
        ticker.ms += LEASE // 3
        await renewed.pass_once()

    assert not held.lost
    assert shared.counts.expired == 0


async def test_leases_are_renewed_every_third_of_their_length(
    shared: RedisLimiter, renewed: Leases, client: Redis, ticker: Ticker
) -> None:
    await hold(shared, "a")
    await renewed.pass_once()
    before = client.round_trips
    ticker.ms += LEASE // 3 - 1
    await renewed.pass_once()
    assert client.round_trips - before == 1  # the sweep alone

    ticker.ms += 1
    await renewed.pass_once()
    assert renewed._renewed == ticker.seconds()


async def test_many_leases_are_renewed_in_one_round_trip(
    shared: RedisLimiter, renewed: Leases, client: Redis
) -> None:
    for number in range(RENEWED_AT_ONCE + 1):
        await hold(shared, f"r{number}", MANY)
    await renewed.renew()
    before = client.round_trips

    await renewed.renew()

    assert client.round_trips - before == 1


async def test_the_dead_are_expired_by_the_living(
    shared: RedisLimiter, other: RedisLimiter, ticker: Ticker
) -> None:
    for name in ("a", "b"):
        await hold(shared, name)
    ticker.ms += LEASE
    await other._leases.pass_once()

    assert other.counts.expired == 2
    assert (await hold(other, "c")).standings[0].remaining == 1


async def test_a_holder_whose_lease_has_ended_is_told_to_stop(
    shared: RedisLimiter, renewed: Leases, ticker: Ticker
) -> None:
    told: list[str] = []
    held = await hold(shared, "a")
    held.on_lost = lambda: told.append("a")
    ticker.ms += LEASE

    await renewed.renew()
    await renewed.renew()

    assert (held.lost, told, shared.counts.lost) == (True, ["a"], 1)


async def test_a_loop_that_stood_still_for_a_lease_tells_its_holders_before_it_asks(
    shared: RedisLimiter, renewed: Leases, client: Redis, ticker: Ticker
) -> None:
    early = await hold(shared, "a")
    since = ticker.seconds()
    ticker.ms += LEASE
    renewed.fence_if_late(since)
    assert not early.lost

    ticker.ms += 1
    before = client.round_trips
    late = await hold(shared, "b")
    renewed.fence_if_late(since)

    assert (early.lost, late.lost) == (True, False)
    assert client.round_trips == before + 1


async def test_after_an_outage_a_place_is_taken_again_and_nobody_stops(
    shared: RedisLimiter, renewed: Leases, ticker: Ticker
) -> None:
    held = await hold(shared, "a")
    renewed._in_doubt = True
    ticker.ms += LEASE

    await renewed.renew()

    assert not held.lost
    ticker.ms += LEASE // 3
    await renewed.renew()
    assert not held.lost
    assert shared.counts.lost == shared.counts.overlaps == 0


async def test_after_an_outage_a_place_given_away_is_an_overlap_that_goes_on(
    shared: RedisLimiter, renewed: Leases, other: RedisLimiter, ticker: Ticker
) -> None:
    held = await hold(shared, "a")
    renewed._in_doubt = True
    ticker.ms += LEASE
    await hold(other, "b")
    await hold(other, "c")

    await renewed.renew()

    assert (held.lost, shared.counts.overlaps) == (False, 1)
    await shared.settle(held, NOTHING)


async def test_data_lost_with_a_restart_stops_no_holder(
    shared: RedisLimiter, renewed: Leases, raw: redis.Redis, client: Redis
) -> None:
    held = await hold(shared, "a")
    raw.flushall()
    client.connections += 1  # as a restart makes it

    await renewed.renew()
    await renewed.renew()

    assert not held.lost


async def test_what_was_settled_while_it_was_renewed_is_left_alone(
    shared: RedisLimiter, renewed: Leases, ticker: Ticker
) -> None:
    held = await hold(shared, "a")
    ticker.ms += LEASE
    renewing = asyncio.get_running_loop().create_task(renewed.renew())
    await asyncio.sleep(0)
    await shared.settle(held, NOTHING)

    await renewing

    assert not held.lost


class Unreachable:
    """A server that can be killed, and leases on it."""

    def __init__(self, server: RedisServer, client: Redis, ticker: Ticker) -> None:
        self.server = server
        self.counts = Counts()
        self.breaker = Breaker(ticker.seconds)
        scripts = Scripts(client, lease=LEASE, counts=self.counts, now=ticker)
        self.leases = Leases(
            scripts,
            LimitsSettings(lease=0.06, sweep=0.02),
            breaker=self.breaker,
            clock=ticker.seconds,
            random=Random(1),
        )


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def mortal_client(mortal: RedisServer) -> AsyncIterator[Redis]:
    async with open_redis(mortal.url, deadline=5) as client:
        yield client


@pytest.fixture
def unreachable(mortal: RedisServer, mortal_client: Redis, ticker: Ticker) -> Unreachable:
    return Unreachable(mortal, mortal_client, ticker)


async def test_an_outage_is_noticed_in_the_background_and_so_is_its_end(
    unreachable: Unreachable, ticker: Ticker
) -> None:
    unreachable.server.kill()
    for _ in range(FAILURES):
        assert not unreachable.breaker.is_open
        await unreachable.leases.sweep()
        ticker.ms += 100
    assert unreachable.breaker.is_open
    failures = unreachable.counts.store_failures
    assert failures >= FAILURES

    await unreachable.leases.pass_once()
    assert unreachable.counts.store_failures == failures
    unreachable.server.start()
    await unreachable.leases.pass_once()

    assert not unreachable.breaker.is_open


async def test_an_outage_is_noticed_without_a_request(unreachable: Unreachable) -> None:
    unreachable.server.kill()
    await unreachable.leases.pass_once()
    assert unreachable.breaker.is_open


async def test_a_renewal_that_fails_is_in_doubt_until_one_succeeds(
    unreachable: Unreachable,
) -> None:
    unreachable.leases.hold(Reservation("a", "acme", PLACES))
    unreachable.server.kill()
    await unreachable.leases.renew()
    assert unreachable.leases._in_doubt

    unreachable.server.start()
    await unreachable.leases.renew()

    assert not unreachable.leases._in_doubt
    assert unreachable.counts.lost == 0


async def test_a_repetition_that_fails_is_kept(unreachable: Unreachable) -> None:
    unreachable.leases.repeat_later(Reservation("a", "acme", PLACES), "S", NOTHING)
    unreachable.server.kill()
    await unreachable.leases.repeat()
    assert len(unreachable.leases._unanswered) == 1

    unreachable.server.start()
    await unreachable.leases.repeat()

    assert unreachable.leases._unanswered == {}


async def test_repetitions_are_bounded_and_the_oldest_are_given_up(
    unreachable: Unreachable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "REMEMBERED", 3)
    for number in range(5):
        unreachable.leases.repeat_later(Reservation(f"r{number}", "acme", PLACES), "S", NOTHING)

    assert list(unreachable.leases._unanswered) == ["r2", "r3", "r4"]
    assert unreachable.counts.unsettled == 2


async def test_it_starts_while_the_store_is_out_of_reach(unreachable: Unreachable) -> None:
    unreachable.server.kill()
    await unreachable.leases.open()

    assert unreachable.breaker.is_open
    await unreachable.leases.aclose()


@pytest.fixture
def paces() -> Paces:
    return Paces()


@pytest.fixture
def brisk(client: Redis, ticker: Ticker, paces: Paces) -> RedisLimiter:
    """A limiter that seldom pauses."""
    settings = LimitsSettings(lease=15, sweep=0.01)
    return RedisLimiter(client, settings, clock=ticker.seconds, now=ticker, random=paces)


async def test_it_works_by_itself_once_opened_and_repeats_a_last_time_when_closed(
    brisk: RedisLimiter, paces: Paces, ticker: Ticker
) -> None:
    async with brisk:
        held, dead = await hold(brisk, "a"), await hold(brisk, "b")
        brisk._leases.release(dead)
        for _ in range(3):
            ticker.ms += LEASE // 3
            await paces.two_passes()
        assert not held.lost
        assert brisk.counts.expired == 1
        brisk._leases.repeat_later(held, "S", NOTHING)

    assert brisk._leases._unanswered == {}
    await brisk.aclose()


async def test_a_store_that_fails_while_sweeping_is_noticed(
    shared: RedisLimiter, renewed: Leases, other: RedisLimiter, ticker: Ticker
) -> None:
    await hold(shared, "a")
    ticker.ms += LEASE
    expire = Script("return redis.error_reply('ERR no')")
    shared._scripts._settle = expire

    await renewed.pass_once()

    assert shared.counts.store_failures == 1
    assert shared.counts.expired == 0


async def test_a_pass_ends_where_the_store_is_still_gone(unreachable: Unreachable) -> None:
    unreachable.server.kill()
    unreachable.breaker.trip()
    unreachable.leases.repeat_later(Reservation("a", "acme", PLACES), "S", NOTHING)

    await unreachable.leases.pass_once()
    await unreachable.leases.open()
    await unreachable.leases.aclose()

    assert len(unreachable.leases._unanswered) == 1
    assert unreachable.counts.store_failures == 0


async def test_a_call_that_was_replaced_while_it_was_repeated_is_repeated_again(
    renewed: Leases,
) -> None:
    held = Reservation("a", "acme", PLACES)
    renewed.repeat_later(held, "C", NOTHING)
    repeating = asyncio.get_running_loop().create_task(renewed.repeat())
    await asyncio.sleep(0)
    renewed.repeat_later(held, "S", NOTHING)

    await repeating

    assert list(renewed._unanswered) == ["a"]


async def test_a_record_that_makes_no_sense_stops_nothing_else(
    shared: RedisLimiter, renewed: Leases, raw: redis.Redis, ticker: Ticker
) -> None:
    stored, ends, _ = shard_keys(shard_of("acme"))
    raw.hset(stored, "odd", "0,0|acme|not,an,entry|")
    raw.zadd(ends, {"odd": 1})
    held = await hold(shared, "a")

    for _ in range(4):
        ticker.ms += LEASE // 3
        await renewed.pass_once()

    assert not held.lost
    assert shared.reachable
    assert shared.counts.store_failures == 0


async def test_a_call_that_makes_no_sense_is_repeated_once(renewed: Leases) -> None:
    renewed.repeat_later(Reservation("a", "NOT A TENANT", PLACES), "S", NOTHING)

    await renewed.repeat()

    assert renewed._unanswered == {}


async def test_what_another_has_expired_first_is_not_counted(
    shared: RedisLimiter, renewed: Leases, other: RedisLimiter, ticker: Ticker
) -> None:
    await hold(shared, "a")
    ticker.ms += LEASE

    await asyncio.gather(renewed.sweep(), other._leases.sweep())

    assert shared.counts.expired + other.counts.expired == 1
