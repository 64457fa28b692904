"""What every limiter promises: each test runs in process and on Redis, under one clock."""

import asyncio
from copy import copy
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from gateway.contract.errors import (
    BudgetExhausted,
    LimitExceeded,
    LimitsUnavailable,
    RequestExceedsLimit,
)
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
from tests.support.spent import Ledger
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
    again = copy(held)

    await limiter.settle(held, Amounts(30))
    await limiter.settle(held, Amounts(30))
    await limiter.settle(again, Amounts(99))

    assert left(await take(limiter, *limits, tokens=0)) == [70, 70, 1]


async def test_what_is_cancelled_was_never_taken_the_request_itself_included(
    limiter: Limiter,
) -> None:
    limits = (
        limit("requests", 1),
        limit("tokens", 10),
        limit("tokens", 10, DAY),
        limit("concurrency", 1, AtOnce()),
    )
    first = await take(limiter, *limits, tokens=10)

    await limiter.cancel(first)
    await limiter.cancel(first)
    second = await take(limiter, *limits, tokens=10)

    assert left(second) == [0, 0, 0, 0]
    await limiter.settle(second, Amounts(10))
    assert [each.remaining for each in await limiter.standings("acme", limits)] == [0, 0, 0, 1]


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

    assert not held.standings


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


MONTH = Calendar("month")


def money(amount: int, window: Window = MONTH, scope: str = "") -> Limit:
    return limit("money", amount, window, scope)


async def ask(limiter: Limiter, *limits: Limit, of: Ask) -> Reservation:
    return await limiter.reserve(f"r{next(_ids)}", "acme", limits, of)


ANSWER = Ask(Amounts(10, 100), Amounts(2, 30), cap=40, least=5)
"""90 tokens and 1,300 nano-dollars at most, 20 and 250 at least."""


async def test_a_budget_that_has_too_little_left_lowers_the_cap_to_what_just_fits(
    limiter: Limiter,
) -> None:
    limits = (money(2000), limit("tokens", 1000, DAY), limit("tokens", 1000))
    await ask(limiter, *limits, of=ANSWER)

    held = await ask(limiter, *limits, of=ANSWER)

    assert (held.cap, held.amounts) == (20, Amounts(50, 700))
    assert left(held) == [0, 860, 860]
    assert limiter.counts.lowered == 1


async def test_the_lowest_cap_of_all_calendar_limits_is_taken_from_each(limiter: Limiter) -> None:
    held = await ask(
        limiter, money(1000), limit("tokens", 60, DAY), limit("requests", 5), of=ANSWER
    )

    assert (held.cap, left(held)) == (25, [150, 0, 4])


async def test_no_cap_is_lowered_below_the_least_that_was_asked_for(limiter: Limiter) -> None:
    limits = (money(1549), limit("requests", 5))
    await ask(limiter, *limits, of=ANSWER)

    with pytest.raises(BudgetExhausted):
        await ask(limiter, *limits, of=ANSWER)

    held = await ask(limiter, *limits, of=replace(ANSWER, least=4))
    assert (held.cap, left(held)) == (4, [29, 3])


async def test_a_sliding_window_lowers_no_cap_and_must_hold_the_whole(limiter: Limiter) -> None:
    limits = (limit("tokens", 100), money(1600))
    await ask(limiter, *limits, of=Ask(Amounts(11, 1000)))

    with pytest.raises(LimitReached):
        await ask(limiter, *limits, of=ANSWER)  # 20 tokens, if it were lowered to the least

    assert left(await ask(limiter, *limits, of=replace(ANSWER, cap=10))) == [59, 200]


async def test_money_that_is_spent_ends_with_its_period_and_is_not_to_be_repeated(
    limiter: Limiter, ticker: Ticker
) -> None:
    budget = money(1000, DAY)
    held = await ask(limiter, budget, of=Ask(Amounts(5, 1000)))
    midnight = (START // DAY_MS + 1) * DAY_MS

    with pytest.raises(BudgetExhausted) as raised:
        await ask(limiter, budget, of=Ask(Amounts(0, 1)))

    assert (raised.value.type, raised.value.code) == ("insufficient_quota", "insufficient_quota")
    assert (raised.value.retryable, raised.value.measure) == (False, "money")
    assert raised.value.retry_after == (midnight - START) / 1000
    assert limiter.counts.refused_money == 1
    await limiter.settle(held, Amounts(5, 400))
    assert left(await ask(limiter, budget, of=Ask(Amounts(0, 600)))) == [0]


async def test_money_may_be_limited_by_a_window_that_slides(
    limiter: Limiter, ticker: Ticker
) -> None:
    pace = money(1000, TEN)
    await ask(limiter, pace, of=Ask(Amounts(0, 1000)))
    with pytest.raises(BudgetExhausted) as raised:
        await ask(limiter, pace, of=Ask(Amounts(0, 1)))

    ticker.ms += round((raised.value.retry_after or 0) * 1000)

    assert left(await ask(limiter, pace, of=Ask(Amounts(0, 1)))) == [999]


async def test_amounts_are_exact_up_to_the_largest_that_there_is(limiter: Limiter) -> None:
    most = 2**53 - 1
    budget = money(most)
    held = await ask(limiter, budget, of=Ask(Amounts(0, most - 7)))

    assert left(held) == [7]
    await limiter.settle(held, Amounts(0, most - 9))
    assert left(await ask(limiter, budget, of=Ask(Amounts(0, 1)))) == [8]


async def test_spending_beyond_the_reservation_is_counted(limiter: Limiter) -> None:
    budget = money(1000)
    held = await ask(limiter, budget, of=Ask(Amounts(10, 100)))

    await limiter.settle(held, Amounts(10, 250))

    assert (limiter.counts.overshoot_cost, limiter.counts.overshoot_tokens) == (150, 0)
    assert left(await ask(limiter, budget, of=Ask(NOTHING))) == [750]


EVERY = (
    limit("requests", 5),
    limit("tokens", 100),
    limit("tokens", 100, DAY),
    money(1000),
    limit("concurrency", 3, AtOnce()),
)


async def test_what_is_held_can_be_raised_in_every_limit(limiter: Limiter) -> None:
    held = await ask(limiter, *EVERY, of=Ask(Amounts(40, 400)))

    await limiter.extend(held, Amounts(70, 300))

    assert held.amounts == Amounts(70, 400)
    assert [each.remaining for each in await limiter.standings("acme", EVERY)] == [
        4,
        30,
        30,
        600,
        2,
    ]
    await limiter.settle(held, Amounts(10, 100))
    assert left(await ask(limiter, *EVERY, of=Ask(NOTHING))) == [3, 90, 90, 900, 2]


async def test_what_can_not_be_raised_in_one_limit_is_raised_in_none(limiter: Limiter) -> None:
    other = await ask(limiter, *EVERY, of=Ask(Amounts(10, 500)))
    held = await ask(limiter, *EVERY, of=Ask(Amounts(10, 400)))

    with pytest.raises(BudgetExhausted):
        await limiter.extend(held, Amounts(50, 501))
    with pytest.raises(LimitReached):
        await limiter.extend(held, Amounts(91, 400))
    with pytest.raises(RequestExceedsLimit):
        await limiter.extend(held, Amounts(0, 1001))

    assert held.amounts == Amounts(10, 400)
    await limiter.extend(held, Amounts(90, 500))
    for each in (held, other):
        await limiter.settle(each, NOTHING)
    assert left(await ask(limiter, *EVERY, of=Ask(NOTHING))) == [2, 100, 100, 1000, 2]


async def test_what_was_raised_counts_in_its_window_from_then_on(
    limiter: Limiter, ticker: Ticker
) -> None:
    tokens = limit("tokens", 100, TEN)
    held = await take(limiter, tokens, tokens=60)
    ticker.ms += 9_000
    await limiter.extend(held, Amounts(80))
    ticker.ms += 9_000

    assert (await refused(limiter, tokens, tokens=21)).type == "tokens"
    await limiter.settle(held, Amounts(50))
    assert left(await take(limiter, tokens, tokens=50)) == [0]


async def test_what_is_raised_after_its_window_has_passed_counts_anew(
    limiter: Limiter, ticker: Ticker
) -> None:
    tokens = limit("tokens", 100, TEN)
    held = await take(limiter, tokens, tokens=60)
    ticker.ms += 11_000
    await take(limiter, tokens, tokens=20)

    with pytest.raises(LimitReached):
        await limiter.extend(held, Amounts(81))
    await limiter.extend(held, Amounts(80))

    assert await refused(limiter, tokens, tokens=1)


async def test_a_reservation_that_has_ended_can_not_be_raised_and_its_holder_hears_so(
    limiter: Limiter,
) -> None:
    held = await ask(limiter, *EVERY, of=Ask(NOTHING))
    await limiter.settle(copy(held), NOTHING)

    with pytest.raises(LimitsUnavailable):
        await limiter.extend(held, Amounts(5, 5))

    assert held.lost


async def test_how_limits_stand_is_told_without_taking_anything(
    limiter: Limiter, ticker: Ticker
) -> None:
    await ask(limiter, *EVERY, of=Ask(Amounts(40, 400)))
    ticker.ms += 11_000

    first = await limiter.standings("acme", EVERY)
    second = await limiter.standings("acme", EVERY)

    assert list(first) == list(second)
    assert [each.remaining for each in first] == [4, 60, 60, 600, 2]
    assert [each.limit for each in first] == list(EVERY)
    assert not await limiter.standings("acme", ())
    ticker.ms += 60_000
    later = await limiter.standings("acme", EVERY)
    assert [each.remaining for each in later][:3] == [5, 100, 60]


# What a period had used before anybody counted.


async def test_a_period_that_began_before_counting_did_starts_with_what_the_ledger_says(
    limiter: Limiter, ledger: Ledger
) -> None:
    ledger.sums.update(requests=3, tokens=60, money=700)
    limits = (limit("requests", 5, DAY), limit("tokens", 100, MONTH), money(1000), *EVERY[:2])

    held = await ask(limiter, *limits, of=Ask(Amounts(10, 100)))

    assert left(held) == [1, 30, 200, 4, 90]
    assert [asked[1:3] for asked in ledger.asked] == [
        ("tenant:acme", "requests"),
        ("tenant:acme", "tokens"),
        ("tenant:acme", "money"),
    ]
    await limiter.settle(held, Amounts(5, 50))
    assert left(await ask(limiter, *limits, of=Ask(Amounts(35, 250)))) == [0, 0, 0, 3, 60]
    assert len(ledger.asked) == 3


async def test_many_at_once_ask_the_ledger_once_and_share_what_is_left(
    limiter: Limiter, ledger: Ledger
) -> None:
    ledger.sums["money"] = 700

    results = await asyncio.gather(
        *(ask(limiter, money(1000), of=Ask(Amounts(0, 100))) for _ in range(12)),
        return_exceptions=True,
    )

    assert sum(isinstance(each, Reservation) for each in results) == 3
    assert sum(isinstance(each, BudgetExhausted) for each in results) == 9
    assert len(ledger.asked) == 1


async def test_a_day_that_follows_one_that_was_counted_asks_nobody(
    limiter: Limiter, ledger: Ledger, ticker: Ticker
) -> None:
    budget = money(1000, DAY)
    await ask(limiter, budget, of=Ask(Amounts(0, 100)))
    ledger.sums["money"] = 999  # of yesterday, say
    ticker.ms += DAY_MS

    assert left(await ask(limiter, budget, of=Ask(Amounts(0, 100)))) == [900]
    assert len(ledger.asked) == 1


async def test_a_limit_that_is_new_in_its_period_begins_with_what_was_used_without_it(
    limiter: Limiter, ledger: Ledger, ticker: Ticker
) -> None:
    await ask(limiter, money(1000, DAY), of=Ask(Amounts(0, 100)))
    ticker.ms += DAY_MS
    await ask(limiter, money(1000, DAY), of=Ask(Amounts(0, 100)))
    ledger.sums["money"] = 300

    assert left(await ask(limiter, money(1000, DAY, "key:k"), of=Ask(NOTHING))) == [700]


async def test_a_look_at_a_period_that_nobody_has_counted_asks_the_ledger(
    limiter: Limiter, ledger: Ledger
) -> None:
    ledger.sums["money"] = 300

    (standing,) = await limiter.standings("acme", (money(1000),))

    assert standing.remaining == 700


async def test_while_nobody_can_tell_what_was_used_a_budget_admits_nothing(
    limiter: Limiter, ledger: Ledger
) -> None:
    ledger.reachable = False
    strict = replace(money(1000), on_store_error="refuse")

    with pytest.raises(LimitsUnavailable):
        await ask(limiter, strict, of=Ask(Amounts(0, 1)))
    with pytest.raises(LimitsUnavailable):
        await limiter.standings("acme", (strict,))

    assert limiter.counts.unseeded == 2
    ledger.reachable = True
    ledger.sums["money"] = 400
    assert left(await ask(limiter, strict, of=Ask(Amounts(0, 100)))) == [500]


async def test_a_limit_that_may_go_on_without_the_ledger_does_and_is_right_afterwards(
    limiter: Limiter, ledger: Ledger
) -> None:
    ledger.reachable = False
    lenient = replace(money(1000), on_store_error="allow")
    held = await ask(limiter, lenient, of=Ask(Amounts(0, 100)))
    await limiter.settle(held, Amounts(0, 60), entry=b"row")
    assert ledger.rows == [b"row"]

    ledger.reachable = True
    ledger.sums["money"] = 460  # the row is in it

    assert left(await ask(limiter, lenient, of=Ask(Amounts(0, 40)))) == [500]
