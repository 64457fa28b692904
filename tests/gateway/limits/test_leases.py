"""What keeps reservations true in the background, one pass at a time."""

import asyncio
from random import Random

import pytest
import redis

from gateway.limits.breaker import FAILURES
from gateway.limits.keys import shard_keys, shard_of
from gateway.limits.leases import Leases
from gateway.limits.limiter import Books
from gateway.limits.model import NOTHING, Ask, AtOnce, Calendar, Limit, Reservation, Sliding
from gateway.limits.redis import RedisLimiter
from gateway.limits.scripts import RENEWED_AT_ONCE, Answer, Ending
from gateway.limits.settings import LimitsSettings
from gateway.limits.unfinished import REPEATED_AT_ONCE
from gateway.redis import Redis, Script
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
    shared._contact.in_doubt = True
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
    shared._contact.in_doubt = True
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


async def test_a_recovery_that_was_cut_short_and_begun_again_charges_windows_once(
    shared: RedisLimiter, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(shared, "a", (Limit("tenant:acme", "requests", 9, Sliding(1000, 60)),))
    raw.flushall()
    shard = shard_of("acme")
    epoch = (await shared._scripts.touch(shard)).epoch

    async def cut_short(_: Reservation) -> Answer:
        raise redis.TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(shared._scripts, "restore", cut_short)
        with pytest.raises(redis.TimeoutError):
            await shared._holdings.recover(shard, epoch)
    await shared._holdings.recover(shard, epoch)

    assert [raw.hget(key, "s") for key in raw.scan_iter(match="*:w:*")] == ["1"]


class Hanging:
    """A ledger that never answers."""

    async def spent(self, *asked: object, without: str = "") -> int:
        await asyncio.get_running_loop().create_future()
        return 0


@pytest.fixture
def unanswered(client: Redis) -> RedisLimiter:
    """A limiter with short leases, whose ledger never answers."""
    return RedisLimiter(client, LimitsSettings(lease=0.3), books=Books(spent=Hanging()))


async def test_a_ledger_that_does_not_answer_keeps_no_lease_from_being_renewed(
    unanswered: RedisLimiter,
) -> None:
    held = await hold(unanswered, "a")
    daily = (Limit("tenant:acme", "tokens", 9, Calendar("day")),)
    settled = Reservation("b", "acme", daily)
    settled.admitted = held.admitted
    unanswered._unfinished.later(Ending(settled, "S", NOTHING, b"{}"))

    for _ in range(4):
        await unanswered._leases.pass_once()

    assert list(unanswered._unfinished.waiting) == ["b"]
    assert not held.lost
    await unanswered.settle(held, NOTHING)
    await unanswered.aclose()


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


async def test_an_outage_is_noticed_in_the_background_and_so_is_its_end(
    mortal_limiter: RedisLimiter, mortal: RedisServer, ticker: Ticker
) -> None:
    mortal.kill()
    for _ in range(FAILURES):
        assert not mortal_limiter._contact.is_open
        await mortal_limiter._leases.sweep()
        ticker.ms += 100
    assert mortal_limiter._contact.is_open
    failures = mortal_limiter.counts.store_failures
    assert failures >= FAILURES

    await mortal_limiter._leases.pass_once()
    assert mortal_limiter.counts.store_failures == failures
    mortal.start()
    await mortal_limiter._leases.pass_once()

    assert not mortal_limiter._contact.is_open


async def test_an_outage_is_noticed_without_a_request(
    mortal_limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()
    await mortal_limiter._leases.pass_once()
    assert mortal_limiter._contact.is_open


async def test_a_renewal_that_fails_is_in_doubt_until_one_succeeds(
    mortal_limiter: RedisLimiter,
    mortal: RedisServer,
) -> None:
    await hold(mortal_limiter, "a")
    mortal.kill()
    await mortal_limiter._leases.renew()
    assert mortal_limiter._contact.in_doubt

    mortal.start()
    await mortal_limiter._leases.renew()

    assert not mortal_limiter._contact.in_doubt
    assert mortal_limiter.counts.lost == 0


async def test_it_starts_while_the_store_is_out_of_reach(
    mortal_limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()
    await mortal_limiter._leases.open()

    assert mortal_limiter._contact.is_open
    await mortal_limiter._leases.aclose()


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
        del brisk._holdings.open[dead.request_id]
        for _ in range(3):
            ticker.ms += LEASE // 3
            await paces.two_passes()
        assert not held.lost
        assert brisk.counts.expired == 1
        brisk._unfinished.later(Ending(held, "S", NOTHING))

    assert brisk._unfinished.waiting == {}
    await brisk.aclose()


async def test_nothing_that_can_be_ended_is_left_when_it_is_closed(brisk: RedisLimiter) -> None:
    await brisk.open()
    for number in range(REPEATED_AT_ONCE + 1):
        brisk._unfinished.later(Ending(Reservation(f"r{number}", "acme", PLACES), "C", NOTHING))

    await brisk.aclose()

    assert brisk._unfinished.waiting == {}


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


async def test_a_pass_ends_where_the_store_is_still_gone(
    mortal_limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()
    mortal_limiter._contact.breaker.trip()
    mortal_limiter._unfinished.later(Ending(Reservation("a", "acme", PLACES), "S", NOTHING))

    await mortal_limiter._leases.pass_once()
    await mortal_limiter._leases.open()
    await mortal_limiter._leases.aclose()

    assert len(mortal_limiter._unfinished.waiting) == 1
    assert mortal_limiter.counts.store_failures == 0


async def test_a_record_that_makes_no_sense_stops_nothing_else(
    shared: RedisLimiter, renewed: Leases, raw: redis.Redis, ticker: Ticker
) -> None:
    stored, ends, _ = shard_keys(shard_of("acme"))
    raw.hset(stored, "odd", "0,0,0|acme|not,an,entry|")
    raw.zadd(ends, {"odd": 1})
    held = await hold(shared, "a")

    for _ in range(4):
        ticker.ms += LEASE // 3
        await renewed.pass_once()

    assert not held.lost
    assert shared.reachable
    assert shared.counts.store_failures == 0


async def test_what_another_has_expired_first_is_not_counted(
    shared: RedisLimiter, renewed: Leases, other: RedisLimiter, ticker: Ticker
) -> None:
    await hold(shared, "a")
    ticker.ms += LEASE

    await asyncio.gather(renewed.sweep(), other._leases.sweep())

    assert shared.counts.expired + other.counts.expired == 1
