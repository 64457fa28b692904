"""The limiter on Redis: round trips, and what happens when Redis does not answer."""

import asyncio
from copy import copy
from dataclasses import replace
from random import Random

import pytest
import redis
import redis.exceptions

from gateway.contract.errors import (
    LimitExceeded,
    LimitsUnavailable,
    RequestExceedsLimit,
    StoreUnavailable,
)
from gateway.limits.breaker import FAILURES
from gateway.limits.keys import ledger_key, shard_of
from gateway.limits.limiter import Books
from gateway.limits.model import (
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    OnStoreError,
    Reservation,
    Sliding,
)
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import Redis
from tests.support.redis_server import RedisServer
from tests.support.spent import Ledger
from tests.support.ticker import Ticker

MINUTE = Sliding(bucket_ms=1000, buckets=60)
LIMITS = (
    Limit("tenant:acme", "requests", 100, MINUTE),
    Limit("tenant:acme", "tokens", 1000, MINUTE),
    Limit("tenant:acme", "tokens", 10_000, Calendar("day")),
    Limit("tenant:acme", "concurrency", 50, AtOnce()),
    Limit("key:a1", "requests", 100, MINUTE),
    Limit("key:a1", "tokens", 1000, MINUTE),
    Limit("key:a1", "concurrency", 50, AtOnce()),
)
POLICIES = {
    policy: LimitsSettings(on_store_error=policy, max_replicas=4, lease=15)
    for policy in ("refuse", "allow", "local")
}


@pytest.fixture(params=["refuse", "allow", "local"])
def policy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def limiter(mortal_client: Redis, ticker: Ticker, request: pytest.FixtureRequest) -> RedisLimiter:
    """On a mortal server, under the policy that the test asks for, `local` by default."""
    name = request.getfixturevalue("policy") if "policy" in request.fixturenames else "local"
    return RedisLimiter(
        mortal_client, POLICIES[name], clock=ticker.seconds, now=ticker, random=Random(1)
    )


async def reserve(limiter: RedisLimiter, name: str, tokens: int = 10) -> Reservation:
    return await limiter.reserve(name, "acme", LIMITS, Ask(Amounts(tokens)))


def places(raw: redis.Redis) -> int:
    return sum(raw.zcard(key) for key in raw.scan_iter(match="*:c:*"))


async def test_one_round_trip_reserves_and_one_settles_however_many_limits_apply(
    shared: RedisLimiter, client: Redis
) -> None:
    await shared.settle(await reserve(shared, "first"), Amounts(1))  # the scripts are known now
    before = client.round_trips

    held = await reserve(shared, "second")
    assert client.round_trips - before == 1
    await shared.settle(held, Amounts(7))
    assert client.round_trips - before == 2


class Rows:
    """A ledger that has what it was handed, while it can be reached."""

    def __init__(self) -> None:
        self.reachable = False
        self.asked = 0
        self.tokens: dict[str, int] = {}

    def put(self, entry: bytes) -> None:
        name, tokens = entry.decode().split()
        self.tokens[name] = int(tokens)

    async def spent(self, *asked: object, without: str = "") -> int:
        if not self.reachable:
            raise StoreUnavailable
        self.asked += 1
        return sum(tokens for name, tokens in self.tokens.items() if name != without)


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def bookkeeper(client: Redis, rows: Rows) -> RedisLimiter:
    """One that keeps a ledger, by Redis's own clock, which instants of the ledger are told by."""
    return RedisLimiter(client, POLICIES["local"], books=Books(spent=rows, outbox=rows.put))


@pytest.mark.parametrize("comes_first", ["what waits", "a request"])
async def test_what_was_admitted_while_the_ledger_was_silent_is_charged_once(
    bookkeeper: RedisLimiter, rows: Rows, comes_first: str
) -> None:
    daily = (Limit("tenant:acme", "tokens", 1000, Calendar("day")),)
    for name in ("a", "b", "c"):
        held = await bookkeeper.reserve(name, "acme", daily, Ask(Amounts(70)))
        await bookkeeper.settle(held, Amounts(50), entry=f"{name} 50".encode())
    rows.reachable = True

    if comes_first == "what waits":
        await bookkeeper._unfinished.repeat()
    held = await bookkeeper.reserve("d", "acme", daily, Ask(Amounts(10)))
    await bookkeeper._unfinished.repeat()

    [standing] = await bookkeeper.standings("acme", daily)
    assert standing.remaining == 1000 - 3 * 50 - 10
    assert rows.asked == 1


async def test_reservations_of_one_tick_share_a_round_trip(
    shared: RedisLimiter, client: Redis
) -> None:
    await shared.settle(await reserve(shared, "first"), Amounts(1))
    before = client.round_trips

    held = await asyncio.gather(*(reserve(shared, f"r{number}") for number in range(32)))
    assert client.round_trips - before == 1
    await asyncio.gather(*(shared.settle(each, Amounts(1)) for each in held))
    assert client.round_trips - before == 2


async def test_scripts_that_redis_has_forgotten_are_sent_again(
    shared: RedisLimiter, raw: redis.Redis
) -> None:
    held = await reserve(shared, "before")
    raw.script_flush()

    await shared.settle(held, Amounts(1))
    raw.script_flush()

    assert (await reserve(shared, "after")).standings[1].remaining == 989


async def test_without_limits_redis_is_not_asked(shared: RedisLimiter, client: Redis) -> None:
    held = await shared.reserve("r", "acme", (), Ask(Amounts(5)))
    await shared.settle(held, Amounts(5))

    assert client.round_trips == 0


async def test_an_id_that_has_ended_is_a_fault_of_the_caller(shared: RedisLimiter) -> None:
    await shared.settle(await reserve(shared, "once"), Amounts(1))

    with pytest.raises(ValueError, match="'once' has ended"):
        await reserve(shared, "once")


async def test_while_redis_is_gone_the_policy_decides(
    limiter: RedisLimiter, mortal: RedisServer, policy: str
) -> None:
    mortal.kill()

    if policy == "refuse":
        with pytest.raises(LimitsUnavailable) as raised:
            await reserve(limiter, "r")
        assert (raised.value.retry_after, limiter.counts.unavailable) == (1.0, 1)
    else:
        held = await reserve(limiter, "r")
        await limiter.settle(held, Amounts(10))
        counts = limiter.counts
        assert (counts.allowed_unseen, counts.held_locally) == {
            "allow": (1, 0),
            "local": (0, 1),
        }[policy]
    assert limiter.counts.store_failures == 1


async def test_the_local_share_is_the_limit_by_the_number_of_replicas(
    limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()

    held = [await reserve(limiter, f"r{number}") for number in range(12)]  # of 50 // 4 places
    with pytest.raises(LimitExceeded):
        await reserve(limiter, "more")
    await limiter.settle(held[0], NOTHING)

    assert (await reserve(limiter, "again")).standings[3].remaining == 0


async def test_what_no_share_can_hold_is_refused_as_unavailable_and_not_as_too_large(
    limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()

    with pytest.raises(LimitsUnavailable):
        await reserve(limiter, "r", tokens=251)
    with pytest.raises(RequestExceedsLimit):
        await reserve(limiter, "r", tokens=1001)


async def test_after_a_few_failures_nobody_waits_for_redis(
    limiter: RedisLimiter, mortal: RedisServer, mortal_client: Redis, ticker: Ticker
) -> None:
    mortal.kill()
    for number in range(FAILURES):
        assert limiter.reachable
        await reserve(limiter, f"r{number}")
        ticker.ms += 50
    assert not limiter.reachable
    before = mortal_client.round_trips

    held = await reserve(limiter, "quick")
    await limiter.settle(held, Amounts(1))

    assert mortal_client.round_trips == before
    assert limiter.counts.held_locally == FAILURES + 1


async def test_a_hanging_redis_costs_a_request_its_deadline_and_no_more(
    limiter: RedisLimiter, mortal: RedisServer, mortal_client: Redis
) -> None:
    mortal.freeze()
    before = mortal_client.round_trips

    held = await asyncio.gather(*(reserve(limiter, f"r{number}") for number in range(12)))

    assert len(held) == limiter.counts.held_locally == 12
    assert mortal_client.round_trips - before == 1
    assert limiter.reachable


async def test_a_reservation_whose_answer_was_lost_is_cancelled_once_redis_is_back(
    limiter: RedisLimiter, mortal: RedisServer
) -> None:
    await limiter.settle(await reserve(limiter, "warm"), NOTHING)
    mortal.freeze()
    await reserve(limiter, "unanswered")
    mortal.thaw()

    await limiter._leases.pass_once()

    held = await reserve(limiter, "after")
    assert [standing.remaining for standing in held.standings] == [98, 990, 9990, 49, 98, 990, 49]


async def test_a_caller_that_leaves_while_reserving_leaves_nothing_behind(
    shared: RedisLimiter, raw: redis.Redis
) -> None:
    task = asyncio.get_running_loop().create_task(reserve(shared, "left"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await shared._unfinished.repeat()

    assert (await reserve(shared, "next")).standings[0].remaining == 99
    assert places(raw) == 2


async def test_a_caller_that_leaves_while_settling_has_settled(
    shared: RedisLimiter, raw: redis.Redis
) -> None:
    held = await reserve(shared, "left", tokens=100)
    task = asyncio.get_running_loop().create_task(shared.settle(held, Amounts(30)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await shared._unfinished.repeat()

    assert (await reserve(shared, "next")).standings[1].remaining == 960
    assert places(raw) == 2


async def test_what_could_not_be_settled_is_settled_once_redis_is_back(
    limiter: RedisLimiter, mortal: RedisServer, mortal_client: Redis
) -> None:
    first, second = await reserve(limiter, "a", 100), await reserve(limiter, "b", 100)
    mortal.freeze()
    await limiter.settle(first, Amounts(20))
    limiter._contact.breaker.trip()
    await limiter.settle(second, Amounts(30))
    mortal.thaw()

    await limiter._leases.pass_once()

    assert limiter.reachable
    held = await reserve(limiter, "c")
    assert [held.standings[i].remaining for i in (1, 3)] == [940, 49]


async def test_a_request_taken_from_the_share_is_settled_there(
    limiter: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()
    held = await reserve(limiter, "r", tokens=250)
    mortal.start()
    limiter._contact.breaker.reached()

    await limiter.settle(held, Amounts(50))
    await limiter.settle(held, Amounts(50))
    again = copy(held)
    again.settled, again.limits = False, ()
    await limiter.settle(again, Amounts(50))

    mortal.kill()
    assert (await reserve(limiter, "s", tokens=200)).standings[1].remaining == 0


async def test_settling_late_is_counted(shared: RedisLimiter, ticker: Ticker) -> None:
    held = await reserve(shared, "r")
    ticker.ms += 15_000
    await shared._leases.sweep()

    await shared.settle(held, Amounts(10))

    assert (shared.counts.expired, shared.counts.late) == (1, 1)


async def test_opened_it_renews_and_closed_it_leaves_no_task(
    shared: RedisLimiter, client: Redis
) -> None:
    async with shared:
        assert len(asyncio.all_tasks()) > 1
        await reserve(shared, "r")

    await client.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


DAILY = (Limit("tenant:acme", "tokens", 100, Calendar("day")),)
STREAM = ledger_key(shard_of("acme"))


def told(raw: redis.Redis) -> list[dict[str, str]]:
    """The rows that are on their way to the ledger."""
    return [fields for _, fields in raw.xrange(STREAM)]


async def left(limiter: RedisLimiter) -> int:
    (standing,) = await limiter.standings("acme", DAILY)
    return standing.remaining


async def test_a_request_without_limits_has_its_row_in_two_round_trips(
    shared: RedisLimiter, raw: redis.Redis, client: Redis
) -> None:
    await shared.settle(await reserve(shared, "first"), NOTHING)
    before = client.round_trips

    held = await shared.reserve("r", "acme", (), Ask(NOTHING), note=b"note")
    await shared.settle(held, Amounts(5), entry=b"row")

    assert client.round_trips - before == 2
    assert told(raw) == [{"how": "S", "id": "r", "row": "row"}]


async def test_a_request_without_limits_leaves_a_row_though_its_holder_dies(
    shared: RedisLimiter, raw: redis.Redis, ticker: Ticker
) -> None:
    held = await shared.reserve("r", "acme", (), Ask(NOTHING), note=b"note")
    held.progress = lambda: Amounts(30, 900)
    await shared._leases.renew()
    ticker.ms += 15_000
    await shared._leases.sweep()

    assert told(raw) == [{"how": "E", "id": "r", "row": "note", "tokens": "30", "cost": "900"}]


async def test_with_seeds_the_first_request_of_a_period_costs_more_and_no_other_does(
    shared: RedisLimiter, client: Redis, ledger: Ledger, ticker: Ticker
) -> None:
    await shared.settle(await reserve(shared, "known"), NOTHING)
    for day in range(3):
        before = client.round_trips
        for number in range(4):
            await shared.settle(await reserve(shared, f"d{day}-{number}"), Amounts(1))
        assert client.round_trips - before == 8
        ticker.ms += 86_400_000
    assert len(ledger.asked) == 1


async def test_nothing_that_the_dead_hold_refuses_a_request_though_nobody_sweeps(
    shared: RedisLimiter, ticker: Ticker
) -> None:
    for number in range(10):
        await shared.reserve(f"dead{number}", "acme", DAILY, Ask(Amounts(10)))
    with pytest.raises(LimitExceeded):
        await shared.reserve("early", "acme", DAILY, Ask(Amounts(60)))
    ticker.ms += 15_000

    await shared.reserve("late", "acme", DAILY, Ask(Amounts(60)))

    assert shared.counts.expired == 8


async def test_what_is_settled_after_the_store_was_emptied_is_added_to_what_the_ledger_says(
    shared: RedisLimiter, raw: redis.Redis, ledger: Ledger
) -> None:
    held = await shared.reserve("r", "acme", DAILY, Ask(Amounts(20)))
    raw.flushall()
    ledger.sums["tokens"] = 50

    await shared.settle(held, Amounts(10), entry=b"row")

    assert ledger.asked[-1][-1] == "r"
    assert len(told(raw)) == 1
    assert await left(shared) == 40


async def test_a_settlement_waits_for_a_ledger_that_can_not_be_asked_and_its_row_does_not(
    shared: RedisLimiter, raw: redis.Redis, ledger: Ledger
) -> None:
    held = await shared.reserve("r", "acme", DAILY, Ask(Amounts(20)))
    raw.flushall()
    ledger.reachable = False
    await shared.settle(held, Amounts(10), entry=b"row")
    assert (ledger.rows, told(raw), shared.reachable) == ([b"row"], [], True)

    ledger.reachable = True
    await shared._unfinished.repeat()

    assert shared._unfinished.waiting == {}
    assert await left(shared) == 90


async def test_rows_that_nobody_fetches_stop_admission_before_one_is_lost(
    client: Redis, narrow: RedisLimiter
) -> None:
    held = await narrow.reserve("a", "acme", DAILY, Ask(NOTHING))
    await narrow.settle(await narrow.reserve("b", "acme", DAILY, Ask(NOTHING)), NOTHING, entry=b"b")

    with pytest.raises(LimitsUnavailable):
        await narrow.reserve("c", "acme", DAILY, Ask(NOTHING))
    await narrow.settle(held, NOTHING, entry=b"a")

    assert narrow.counts.behind == 1


@pytest.fixture
def narrow(client: Redis, ticker: Ticker) -> RedisLimiter:
    settings = LimitsSettings(ledger_backlog=1)
    return RedisLimiter(client, settings, clock=ticker.seconds, now=ticker, random=Random(1))


@pytest.fixture
def bookkept(mortal_client: Redis, ticker: Ticker, ledger: Ledger) -> RedisLimiter:
    """On a mortal server, with a ledger."""
    return RedisLimiter(
        mortal_client,
        LimitsSettings(max_replicas=1),
        clock=ticker.seconds,
        now=ticker,
        random=Random(1),
        books=ledger.books,
    )


@pytest.mark.parametrize("policy", ["local", "allow"])
async def test_what_was_admitted_in_an_outage_is_charged_afterwards(
    bookkept: RedisLimiter, mortal: RedisServer, ledger: Ledger, policy: OnStoreError
) -> None:
    limits = tuple(replace(each, on_store_error=policy) for each in DAILY)
    await bookkept.settle(await bookkept.reserve("a", "acme", limits, Ask(NOTHING)), Amounts(5))
    mortal.freeze()
    held = await bookkept.reserve("b", "acme", limits, Ask(Amounts(20)))
    await bookkept.settle(held, Amounts(10), entry=b"row")
    assert ledger.rows == [b"row"]
    mortal.thaw()

    await bookkept._leases.pass_once()

    assert bookkept._unfinished.waiting == {}
    assert await left(bookkept) == 85


async def test_what_nothing_will_remember_is_not_charged_afterwards(
    bookkept: RedisLimiter, mortal: RedisServer, ledger: Ledger
) -> None:
    mortal.kill()
    bookkept._contact.breaker.trip()
    requests = (Limit("tenant:acme", "requests", 9, MINUTE),)
    held = await bookkept.reserve("a", "acme", requests, Ask(NOTHING), note=b"note")
    await bookkept.settle(held, NOTHING, entry=b"row")

    assert ledger.rows == [b"row"]
    assert bookkept._unfinished.waiting == {}


@pytest.mark.parametrize(("policy", "raised"), [("allow", True), ("refuse", False)])
@pytest.mark.parametrize("is_noticed", [True, False])
async def test_in_an_outage_the_policy_decides_on_what_is_raised_too(
    bookkept: RedisLimiter,
    mortal: RedisServer,
    policy: OnStoreError,
    raised: bool,
    is_noticed: bool,
) -> None:
    limits = tuple(replace(each, on_store_error=policy) for each in DAILY)
    held = await bookkept.reserve("a", "acme", limits, Ask(Amounts(5)))
    mortal.kill()
    if is_noticed:
        bookkept._contact.breaker.trip()

    if raised:
        await bookkept.extend(held, Amounts(20))
    else:
        with pytest.raises(LimitsUnavailable):
            await bookkept.extend(held, Amounts(20))

    assert held.amounts == Amounts(20 if raised else 5)


async def test_what_was_admitted_by_a_share_is_raised_there(
    bookkept: RedisLimiter, mortal: RedisServer
) -> None:
    mortal.kill()
    held = await bookkept.reserve("a", "acme", DAILY, Ask(Amounts(50)))

    await bookkept.extend(held, Amounts(80))
    with pytest.raises(LimitExceeded):
        await bookkept.reserve("b", "acme", DAILY, Ask(Amounts(21)))


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_in_an_outage_nobody_can_say_how_limits_stand(
    bookkept: RedisLimiter, mortal: RedisServer, is_noticed: bool
) -> None:
    mortal.kill()
    if is_noticed:
        bookkept._contact.breaker.trip()

    with pytest.raises(LimitsUnavailable):
        await bookkept.standings("acme", DAILY)


async def test_a_store_that_is_full_admits_nothing_and_ends_what_it_has(
    bookkept: RedisLimiter, mortal: RedisServer, ledger: Ledger
) -> None:
    strict = tuple(replace(each, on_store_error="refuse") for each in DAILY)
    held = await bookkept.reserve("a", "acme", strict, Ask(Amounts(50)))
    with redis.Redis.from_url(mortal.url, decode_responses=True) as raw:
        raw.config_set("maxmemory", 1)
        with pytest.raises(LimitsUnavailable):
            await bookkept.reserve("b", "acme", strict, Ask(NOTHING))

        await bookkept.settle(held, Amounts(30), entry=b"row")

        assert len(told(raw)) == 1
        assert await left(bookkept) == 70


async def test_a_replica_that_lost_its_lease_can_not_raise_what_it_no_longer_holds(
    shared: RedisLimiter, ticker: Ticker
) -> None:
    stopped: list[str] = []
    held = await shared.reserve("a", "acme", DAILY, Ask(Amounts(5)))
    held.on_lost = lambda: stopped.append("a")
    ticker.ms += 15_000

    with pytest.raises(LimitsUnavailable):
        await shared.extend(held, Amounts(20))

    assert (stopped, shared.counts.lost) == (["a"], 1)
    await shared._leases.sweep()
    await shared.settle(held, Amounts(7))
    assert await left(shared) == 93
