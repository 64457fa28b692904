"""What only the scripts do: leases, markers, unanswered calls, data that was lost."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from random import Random

import pytest
import redis

from gateway.limits.counts import Counts
from gateway.limits.keys import ledger_key, shard_keys, shard_of
from gateway.limits.model import (
    DAY_MS,
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Instant,
    Limit,
    Reservation,
    Sliding,
    Unit,
)
from gateway.limits.scripts import (
    BEHIND,
    DONE,
    ENDED,
    GONE,
    KEPT,
    LATE,
    REFUSED,
    STRANGE,
    TAKEN,
    UNKNOWN,
    UNSEEDED,
    UNSETTLED,
    Answer,
    Ending,
    Scripts,
    found,
)
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
            assert refusal.rest == [1, calendar.resets_in(Instant(now, now)), [], 1]


async def test_layouts_are_remembered_but_not_without_end(scripts: Scripts) -> None:
    for number in range(KEPT + 1):
        scripts._layout(f"t{number}", ())

    assert len(scripts._layouts) == 1


async def test_a_layout_is_made_once_among_ten_thousand_tenants(scripts: Scripts) -> None:
    first, again = (
        [scripts._layout(f"t{number}", LIMITS) for number in range(10_000)] for _ in range(2)
    )

    assert all(one is other for one, other in zip(first, again, strict=True))


@pytest.fixture
def unclocked(client: Redis) -> Scripts:
    return Scripts(client, LimitsSettings(lease=15), counts=Counts())


async def test_without_a_clock_of_ours_redis_tells_the_time(unclocked: Scripts) -> None:
    before = datetime.now(UTC).timestamp() * 1000

    now = (await reserve(unclocked, "a")).now

    assert before - 1000 < now < before + 60_000
    assert (await unclocked.swept(SHARD))[1] == []


LEDGER = ledger_key(SHARD)


def rows(raw: redis.Redis) -> list[dict[str, str]]:
    """What is on its way to the ledger."""
    return [fields for _, fields in raw.xrange(LEDGER)]


async def admit(
    scripts: Scripts, request_id: str, tokens: int = 100, note: bytes = b'{"n": 1}'
) -> Reservation:
    """A reservation as a limiter has it."""
    reservation = held(request_id, tokens)
    reservation.note = note
    answer = await scripts.reserve(reservation, Ask(Amounts(tokens)), 0)
    assert answer.how == TAKEN
    reservation.epoch, reservation.admitted = answer.epoch, answer.now
    return reservation


async def settle(
    scripts: Scripts, reservation: Reservation, tokens: int, row: bytes = b"row", handed: int = 0
) -> int:
    return (await scripts.end(Ending(reservation, "S", Amounts(tokens), row, handed))).how


async def test_a_settlement_writes_its_row_once(scripts: Scripts, raw: redis.Redis) -> None:
    reservation = await admit(scripts, "a")

    for _ in range(2):
        await settle(scripts, reservation, 30, b'{"any": "thing, |;"}')

    assert rows(raw) == [{"how": "S", "id": "a", "row": '{"any": "thing, |;"}'}]


async def test_without_a_row_or_a_note_the_ledger_hears_nothing(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    await settle(scripts, await admit(scripts, "a"), 30, b"")
    await end(scripts, "C", (await admit(scripts, "b")).request_id)
    await admit(scripts, "c", note=b"")
    ticker.ms += LEASE
    await expire(scripts)

    assert rows(raw) == []


async def test_an_expired_request_is_charged_what_was_last_heard_of_it_and_its_row_says_so(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    reservation = await admit(scripts, "dead", note=b'{"a": "b|c;d,e"}')
    so_far = [Amounts(10, 70), Amounts(25, 175), NOTHING]
    reservation.progress = lambda: so_far.pop(0)
    for _ in range(3):
        ((_, call),) = scripts.renewals([reservation], again=False)
        assert (await call).rest == [1]
    ticker.ms += LEASE
    assert await expire(scripts) == [1]

    assert await used(scripts) == [1, 100, 1, 25, 0]
    assert rows(raw) == [
        {"how": "E", "id": "dead", "row": '{"a": "b|c;d,e"}', "tokens": "25", "cost": "175"}
    ]


async def test_a_late_settlement_charges_what_is_missing_and_writes_the_final_row(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    reservation = await admit(scripts, "late")
    reservation.progress = lambda: Amounts(25, 0)
    ((_, call),) = scripts.renewals([reservation], again=False)
    await call
    ticker.ms += LEASE
    await expire(scripts)

    assert await settle(scripts, reservation, 70) == LATE
    assert await settle(scripts, reservation, 70) == GONE
    assert await used(scripts) == [1, 70, 1, 70, 0]
    assert [(row["how"], row["id"]) for row in rows(raw)] == [("E", "late"), ("S", "late")]


async def test_while_too_many_rows_wait_nothing_is_admitted_and_all_may_end(
    client: Redis, raw: redis.Redis, narrow: Scripts
) -> None:
    first, second = await admit(narrow, "a"), await admit(narrow, "b")
    await settle(narrow, first, 1)
    third = await admit(narrow, "c")
    await settle(narrow, second, 1)

    assert (await reserve(narrow, "d")).how == BEHIND
    assert await settle(narrow, third, 1) == DONE
    assert len(rows(raw)) == 3
    raw.xtrim(LEDGER, maxlen=1, approximate=False)
    assert (await reserve(narrow, "d")).how == TAKEN


@pytest.fixture
def narrow(client: Redis, ticker: Ticker) -> Scripts:
    settings = LimitsSettings(ledger_backlog=2)
    return Scripts(client, settings, counts=Counts(), now=ticker)


async def test_a_refusal_tells_of_a_few_whose_leases_have_ended(
    scripts: Scripts, ticker: Ticker
) -> None:
    daily = (Limit("tenant:acme", "tokens", 1000, Calendar("day")),)
    for number in range(12):
        ticker.ms += 1
        await reserve(scripts, f"r{number:02}", 80, daily)
    assert (await reserve(scripts, "early", 80, daily)).rest[2] == []
    ticker.ms += LEASE

    refused = await reserve(scripts, "late", 80, daily)

    assert refused.how == REFUSED
    lapsed = found(refused.rest[2])
    assert [name for name, _ in lapsed] == [f"r{number:02}" for number in range(8)]
    assert await scripts.expire(SHARD, *lapsed[0]) == DONE
    assert (await reserve(scripts, "late", 80, daily)).how == TAKEN


async def test_what_was_cancelled_here_and_went_on_elsewhere_is_charged_when_it_is_settled(
    scripts: Scripts, raw: redis.Redis
) -> None:
    cancelled = await admit(scripts, "here")
    await end(scripts, "C", "here")
    assert await settle(scripts, cancelled, 70) == GONE

    await admit(scripts, "elsewhere")
    await end(scripts, "C", "elsewhere")
    assert await settle(scripts, held("elsewhere"), 70) == UNKNOWN
    assert await settle(scripts, held("elsewhere"), 70) == GONE

    assert await used(scripts) == [0, 0, 1, 70, 0]
    assert [row["id"] for row in rows(raw)] == ["elsewhere"]


async def test_what_was_lost_is_charged_unless_the_ledger_had_its_row_before_the_data_began(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    before, after = await admit(scripts, "before"), await admit(scripts, "after")
    handed = ticker.ms
    ticker.ms += 1000
    forget(scripts, raw)

    assert await settle(scripts, before, 70, handed=handed) == UNKNOWN
    assert await used(scripts) == [0, 0, 0, 0, 0]
    assert await settle(scripts, after, 70, handed=ticker.ms) == UNKNOWN
    assert await used(scripts) == [0, 0, 1, 70, 0]


async def test_a_settlement_that_is_repeated_after_its_marker_has_gone_charges_nothing(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    reservation = await admit(scripts, "a")
    await settle(scripts, reservation, 70)
    (marker,) = raw.keys("*:t:a")
    assert 0 < raw.pttl(marker) <= 600_000
    raw.delete(marker)
    handed = ticker.ms
    ticker.ms += 600_001

    assert await settle(scripts, reservation, 70, handed=handed) == UNKNOWN
    assert (await used(scripts))[2:] == [1, 70, 0]


async def test_what_was_admitted_in_a_period_that_is_over_is_not_charged_to_the_next(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    reservation = await admit(scripts, "a")
    ticker.ms += DAY_MS
    forget(scripts, raw)

    assert await settle(scripts, reservation, 70) == UNKNOWN
    assert await used(scripts) == [0, 0, 0, 0, 0]


async def test_other_data_are_noticed_before_anything_is_taken(
    scripts: Scripts, raw: redis.Redis
) -> None:
    await reserve(scripts, "a")
    raw.flushall()

    assert (await reserve(scripts, "b")).how == STRANGE
    assert (await scripts.touch(SHARD)).how == STRANGE
    assert raw.keys("*:w:*") == []


async def test_a_reservation_that_is_known_is_not_put_back(
    scripts: Scripts, raw: redis.Redis
) -> None:
    reservation = await admit(scripts, "a")
    assert (await scripts.restore(reservation)).how == 0
    await settle(scripts, reservation, 70)

    assert (await scripts.restore(reservation)).how == 0
    assert await used(scripts) == [1, 70, 1, 70, 0]


@pytest.fixture
def seeded(client: Redis, ticker: Ticker) -> Scripts:
    return Scripts(client, LimitsSettings(), counts=Counts(), now=ticker, seeded=True)


async def test_what_the_ledger_says_counts_only_for_the_period_that_it_was_asked_about(
    seeded: Scripts, ticker: Ticker
) -> None:
    limits = (Limit("tenant:acme", "tokens", 1000, Calendar("day")),)
    asked = await reserve(seeded, "a", 10, limits)
    assert (asked.how, asked.rest[0]) == (UNSEEDED, 1)
    ticker.ms += DAY_MS
    stale = [(*asked.rest, 400)]

    again = await seeded.reserve(held("a", 10, limits), Ask(Amounts(10)), 0, stale)
    assert (again.how, again.rest) == (UNSEEDED, [1, asked.rest[1] + 1])
    told = [(*again.rest, 300)]
    assert (await seeded.reserve(held("a", 10, limits), Ask(Amounts(10)), 0, told)).rest == [0, 310]

    late = [(*again.rest, 999)]
    assert (await seeded.reserve(held("b", 10, limits), Ask(Amounts(10)), 0, late)).rest == [0, 320]


async def test_a_settlement_of_what_was_lost_asks_the_ledger_before_it_charges(
    seeded: Scripts, raw: redis.Redis
) -> None:
    first = await seeded.end(Ending(held("a"), "S", Amounts(70), b"row"))
    assert (first.how, first.rest[::2]) == (UNSETTLED, [3, 4])
    assert rows(raw) == []

    told = [
        (index, period, 500)
        for index, period in zip(first.rest[::2], first.rest[1::2], strict=True)
    ]
    assert (await seeded.end(Ending(held("a"), "S", Amounts(70), b"row"), told)).how == UNKNOWN

    _, *in_use = await seeded.standings("acme", LIMITS)
    assert in_use == [0, 0, 501, 570, 0]
    assert len(rows(raw)) == 1


async def test_all_that_the_scripts_touch_was_declared_and_lies_in_one_slot(
    scripts: Scripts, raw: redis.Redis, ticker: Ticker
) -> None:
    reservation = await admit(scripts, "a")
    await scripts.extend(reservation, Amounts(120))
    await settle(scripts, reservation, 30)
    await admit(scripts, "b")
    ticker.ms += LEASE
    await expire(scripts)

    assert {key[: key.index("}")] for key in raw.scan_iter()} == {f"lg1:{{s{SHARD}"}
