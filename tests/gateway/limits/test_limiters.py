"""What every limiter promises: each test runs in process and on Redis, under one clock."""

import asyncio
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from gateway.contract.errors import LimitExceeded, RequestExceedsLimit
from gateway.limits.limiter import Limiter
from gateway.limits.model import (
    DAY_MS,
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    Measure,
    Reservation,
    Sliding,
    Window,
)
from gateway.limits.refusal import LimitReached
from tests.support.ticker import START, Ticker

MINUTE = Sliding(bucket_ms=1000, buckets=60)
TEN = Sliding(bucket_ms=1000, buckets=10)
DAY = Calendar("day")

_ids = count()


def limit(measure: Measure, amount: int, window: Window = MINUTE, scope: str = "") -> Limit:
    return Limit(scope or "tenant:acme", measure, amount, window)


async def take(limiter: Limiter, *limits: Limit, tokens: int = 0) -> Reservation:
    return await limiter.reserve(f"r{next(_ids)}", "acme", limits, Ask(Amounts(tokens)))


async def refused(limiter: Limiter, *limits: Limit, tokens: int = 0) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as raised:
        await take(limiter, *limits, tokens=tokens)
    return raised.value


def left(reservation: Reservation) -> list[int]:
    return [standing.remaining for standing in reservation.standings]


async def test_a_limit_is_taken_to_the_last_unit_and_no_further(limiter: Limiter) -> None:
    requests = limit("requests", 3)

    taken = [await take(limiter, requests) for _ in range(3)]
    error = await refused(limiter, requests)

    assert [left(each) for each in taken] == [[2], [1], [0]]
    assert (error.type, error.code, error.status) == ("requests", "rate_limit_exceeded", 429)
    assert (limiter.counts.admitted, limiter.counts.refused_requests) == (3, 1)


@pytest.mark.parametrize("window", [MINUTE, DAY])
async def test_what_was_not_used_can_be_taken_at_once(limiter: Limiter, window: Window) -> None:
    tokens = limit("tokens", 100, window)
    first = await take(limiter, tokens, tokens=80)
    assert (await refused(limiter, tokens, tokens=21)).type == "tokens"

    await limiter.settle(first, Amounts(30))

    assert left(await take(limiter, tokens, tokens=70)) == [0]
    assert limiter.counts.refused_tokens == 1


async def test_what_was_not_used_goes_back_to_where_it_was_taken_from(
    limiter: Limiter, ticker: Ticker
) -> None:
    tokens = limit("tokens", 100, TEN)
    first = await take(limiter, tokens, tokens=60)
    ticker.ms += 5_000
    second = await take(limiter, tokens, tokens=40)

    await limiter.settle(first, Amounts(10))
    ticker.ms += 6_000  # the first has left its window, the second has not
    await limiter.settle(second, Amounts(40))

    assert left(await take(limiter, tokens, tokens=60)) == [0]


async def test_settling_after_the_window_has_passed_gives_nothing_back(
    limiter: Limiter, ticker: Ticker
) -> None:
    tokens = limit("tokens", 100, TEN)
    old = await take(limiter, tokens, tokens=100)
    ticker.ms += 11_000
    await take(limiter, tokens, tokens=60)

    await limiter.settle(old, NOTHING)

    assert left(await take(limiter, tokens, tokens=40)) == [0]


@pytest.mark.parametrize("window", [MINUTE, DAY])
async def test_what_was_used_beyond_the_reservation_is_charged_and_counted(
    limiter: Limiter, window: Window
) -> None:
    tokens = limit("tokens", 100, window)

    await limiter.settle(await take(limiter, tokens, tokens=10), Amounts(70))

    assert limiter.counts.overshoot_tokens == 60
    assert left(await take(limiter, tokens, tokens=30)) == [0]


async def test_overuse_after_a_long_answer_leaves_the_window_like_anything_else(
    limiter: Limiter, ticker: Ticker
) -> None:
    tokens = limit("tokens", 100, TEN)
    long = await take(limiter, tokens, tokens=1)
    ticker.ms += 50_000
    await limiter.settle(long, Amounts(100))
    assert await refused(limiter, tokens, tokens=2)

    ticker.ms += 25_000

    assert left(await take(limiter, tokens, tokens=100)) == [0]


async def test_overuse_may_pass_a_limit_and_then_nothing_remains(limiter: Limiter) -> None:
    tokens = limit("tokens", 100)
    held, other = await take(limiter, tokens, tokens=50), await take(limiter, tokens, tokens=1)

    await limiter.settle(held, Amounts(500))

    assert await refused(limiter, tokens, tokens=1)
    assert left(await limiter.reserve(other.request_id, "acme", (tokens,), Ask(Amounts(1)))) == [0]


async def test_a_refused_reservation_changes_no_counter(limiter: Limiter) -> None:
    limits = (
        limit("requests", 10),
        limit("requests", 10, DAY),
        limit("concurrency", 10, AtOnce()),
        limit("tokens", 100),
    )
    await take(limiter, *limits, tokens=90)

    for _ in range(20):
        await refused(limiter, *limits, tokens=11)

    assert left(await take(limiter, *limits, tokens=10)) == [8, 8, 8, 0]


async def test_a_refusal_says_how_every_limit_stands(limiter: Limiter) -> None:
    requests, tokens = limit("requests", 5), limit("tokens", 100)
    await take(limiter, requests, tokens, tokens=60)

    with pytest.raises(LimitReached) as raised:
        await take(limiter, requests, tokens, tokens=41)

    assert [each.limit for each in raised.value.standings] == [requests, tokens]
    assert [each.remaining for each in raised.value.standings] == [4, 40]
    assert all(0 < each.reset <= 61 for each in raised.value.standings)


async def test_settling_twice_charges_once(limiter: Limiter) -> None:
    limits = (limit("tokens", 100), limit("tokens", 100, DAY), limit("concurrency", 2, AtOnce()))
    held = await take(limiter, *limits, tokens=80)
    again = replace(held)

    await limiter.settle(held, Amounts(30))
    await limiter.settle(held, Amounts(30))
    await limiter.settle(again, Amounts(99))

    assert left(await take(limiter, *limits, tokens=0)) == [70, 70, 1]


async def test_a_request_without_tokens_is_settled_like_any_other(limiter: Limiter) -> None:
    limits = (limit("tokens", 100), limit("tokens", 100, DAY), limit("requests", 9, DAY))

    await limiter.settle(await take(limiter, *limits, tokens=0), NOTHING)

    assert left(await take(limiter, *limits, tokens=0)) == [100, 100, 7]


async def test_an_open_id_that_is_reserved_again_takes_nothing_more(limiter: Limiter) -> None:
    limits = (limit("requests", 5), limit("tokens", 100, DAY), limit("concurrency", 5, AtOnce()))

    first = await limiter.reserve("same", "acme", limits, Ask(Amounts(60)))
    second = await limiter.reserve("same", "acme", limits, Ask(Amounts(60)))

    assert left(first) == left(second) == [4, 40, 4]


async def test_places_are_free_again_once_settled(limiter: Limiter) -> None:
    places = limit("concurrency", 2, AtOnce())
    first, _ = await take(limiter, places), await take(limiter, places)
    error = await refused(limiter, places)

    await limiter.settle(first, NOTHING)

    assert (error.type, error.retry_after) == ("requests", 1.0)
    assert limiter.counts.refused_concurrency == 1
    assert left(await take(limiter, places)) == [0]


async def test_a_request_larger_than_a_limit_is_the_requests_own_fault(limiter: Limiter) -> None:
    limits = (limit("requests", 5), limit("tokens", 100))

    with pytest.raises(RequestExceedsLimit, match="101 tokens, but the limit is 100 per 60 s"):
        await take(limiter, *limits, tokens=101)

    assert limiter.counts.too_large == 1
    assert left(await take(limiter, *limits, tokens=100)) == [4, 0]


async def test_no_limits_admit_everything(limiter: Limiter) -> None:
    held = await take(limiter, tokens=10**9)
    await limiter.settle(held, Amounts(10**9))

    assert held.standings == ()


async def test_tenants_do_not_see_one_another(limiter: Limiter) -> None:
    requests = limit("requests", 1, scope="tenant:x")
    await limiter.reserve("a1", "a", (requests,), Ask(NOTHING))

    assert left(await limiter.reserve("b1", "b", (requests,), Ask(NOTHING))) == [0]


async def test_limits_of_one_scope_and_window_count_together_whatever_their_amount(
    limiter: Limiter,
) -> None:
    await take(limiter, limit("requests", 5))

    assert left(await take(limiter, limit("requests", 9))) == [7]


async def test_racing_for_the_last_units_admits_exactly_those(limiter: Limiter) -> None:
    limits = (limit("requests", 7), limit("tokens", 700))

    results = await asyncio.gather(
        *(take(limiter, *limits, tokens=100) for _ in range(32)), return_exceptions=True
    )

    assert sum(isinstance(each, Reservation) for each in results) == 7
    assert sum(isinstance(each, LimitExceeded) for each in results) == 25


@pytest.mark.parametrize("seed", range(4))
async def test_waiting_as_long_as_told_is_enough_and_a_sub_bucket_less_is_not(
    limiter: Limiter, ticker: Ticker, seed: int
) -> None:
    chance = Random(seed)
    limits = (limit("requests", 6, TEN), limit("tokens", 100, TEN), limit("tokens", 300))
    waits = 0
    while waits < 12:
        ticker.ms += chance.choice((0, 70, 900, 2_500))
        tokens = chance.randint(1, 60)
        wait = await wait_told(limiter, *limits, tokens=tokens)
        if wait == 0:
            continue
        waits += 1
        ticker.ms += max(0, wait - 1000)
        if wait > 1000:
            await refused(limiter, *limits, tokens=tokens)
        ticker.ms += min(wait, 1000)
        await take(limiter, *limits, tokens=tokens)


async def wait_told(limiter: Limiter, *limits: Limit, tokens: int) -> int:
    """ms that the refusal names, 0 where there was none."""
    try:
        await take(limiter, *limits, tokens=tokens)
    except LimitExceeded as error:
        return round((error.retry_after or 0) * 1000)
    return 0


async def test_the_longest_wait_of_all_limits_is_told(limiter: Limiter, ticker: Ticker) -> None:
    limits = (limit("requests", 1, TEN), limit("tokens", 10), limit("concurrency", 1, AtOnce()))
    await take(limiter, *limits, tokens=10)

    error = await refused(limiter, *limits, tokens=10)

    assert error.type == "tokens"
    assert error.retry_after == 61 - ticker.ms % 1000 / 1000


async def test_a_day_ends_at_midnight_utc(limiter: Limiter, ticker: Ticker) -> None:
    requests = limit("requests", 1, DAY)
    midnight = (START // DAY_MS + 1) * DAY_MS
    ticker.ms = midnight - 1_500
    taken = await take(limiter, requests)
    error = await refused(limiter, requests)

    ticker.ms = midnight

    assert taken.standings[0].reset == 1.5
    assert error.retry_after == 1.5
    assert left(await take(limiter, requests)) == [0]


async def test_what_was_taken_yesterday_is_settled_yesterday(
    limiter: Limiter, ticker: Ticker
) -> None:
    tokens = limit("tokens", 100, DAY)
    old = await take(limiter, tokens, tokens=100)
    ticker.ms += DAY_MS
    new = await take(limiter, tokens, tokens=60)

    await limiter.settle(old, Amounts(10))

    assert left(new) == [40]
    assert left(await take(limiter, tokens, tokens=40)) == [0]


async def test_days_long_gone_are_forgotten(limiter: Limiter, ticker: Ticker) -> None:
    tokens = limit("tokens", 100, DAY)
    old = await take(limiter, tokens, tokens=50)
    for _ in range(3):
        ticker.ms += DAY_MS
        await take(limiter, tokens, tokens=50)

    await limiter.settle(old, Amounts(90))

    assert left(await take(limiter, tokens, tokens=50)) == [0]


async def test_a_small_step_back_of_the_clock_opens_no_window(
    limiter: Limiter, ticker: Ticker
) -> None:
    requests = limit("requests", 1, TEN)
    ticker.ms += 1_000_000
    await take(limiter, requests)

    ticker.ms -= 60_000

    assert (await refused(limiter, requests)).retry_after == 11
    assert limiter.counts.clock_resets == 0


async def test_a_clock_far_ahead_is_given_up_and_counted(limiter: Limiter, ticker: Ticker) -> None:
    requests, tokens = limit("requests", 1, TEN), limit("tokens", 10, TEN)
    ticker.ms += 3_600_000
    held = await take(limiter, requests, tokens, tokens=10)

    ticker.ms -= 3_600_000

    assert left(await take(limiter, requests, tokens, tokens=5)) == [0, 5]
    assert limiter.counts.clock_resets == 1
    await limiter.settle(held, NOTHING)
    assert await refused(limiter, requests)
    assert left(await take(limiter, tokens, tokens=5)) == [0]


@pytest.mark.parametrize("steady", [True, False])
async def test_no_real_window_holds_more_than_its_limit_and_nearly_all_of_it_is_used(
    limiter: Limiter, ticker: Ticker, steady: bool
) -> None:
    amount, length, chance = 40, 10_000, Random(7)
    requests = limit("requests", amount, TEN)
    admitted: list[int] = []
    end = ticker.ms + 8 * length
    while ticker.ms < end:
        # either all the time, or idle but for bursts on both sides of each window's edge
        if steady or ticker.ms % length < 1_000 or ticker.ms % length > length - 1_000:
            try:
                while True:
                    await take(limiter, requests)
                    admitted.append(ticker.ms)
            except LimitExceeded:
                pass
        ticker.ms += chance.randint(1, 500)

    windows = [sum(end - length < at <= end for at in admitted) for end in admitted]

    assert max(windows) == amount
    if steady:
        assert len(admitted) >= 8 * amount * 10 / 11
