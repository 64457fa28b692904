"""Retries by a clock that only the tests move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health import LIFETIME, HealthSettings
from gateway.health.retry_budget import RetryBudget

SETTINGS = HealthSettings()
ONLY_SHARE = HealthSettings(retries_per_second=0)
ONLY_FREE = HealthSettings(retry_share=0)


def taken(budget: RetryBudget, settings: HealthSettings, now: float, asked: int = 100_000) -> int:
    """How many of so many retries it grants."""
    return sum(budget.take(settings, now) for _ in range(asked))


def test_a_tenth_of_the_first_attempts_and_three_a_second_may_be_sent_again() -> None:
    budget = RetryBudget(SETTINGS, 100.0)
    assert taken(budget, SETTINGS, 100.0) == 30  # saved up
    for _ in range(1000):
        budget.sent(101.0)
    assert taken(budget, SETTINGS, 101.0) == 100 + 3


def test_what_is_not_used_is_forgotten_within_ten_seconds() -> None:
    for wait in (LIFETIME, 3 * LIFETIME):
        budget = RetryBudget(ONLY_SHARE, 100.0)
        for _ in range(1000):
            budget.sent(101.0)
        assert taken(budget, ONLY_SHARE, 101.0 + wait) == 0

    budget = RetryBudget(ONLY_SHARE, 100.0)
    for _ in range(1000):
        budget.sent(104.9)
    assert taken(budget, ONLY_SHARE, 109.8) == 100


def test_free_ones_are_saved_up_for_ten_seconds_at_most() -> None:
    budget = RetryBudget(ONLY_FREE, 100.0)
    assert taken(budget, ONLY_FREE, 1_000_000.0) == 30
    assert taken(budget, ONLY_FREE, 1_000_001.0) == 3


def test_a_rate_below_one_in_ten_seconds_still_comes_to_something() -> None:
    seldom = HealthSettings(retry_share=0, retries_per_second=0.01)
    budget = RetryBudget(seldom, 100.0)
    assert taken(budget, seldom, 100.0) == 1
    assert taken(budget, seldom, 150.0) == 0
    assert taken(budget, seldom, 201.0) == 1


def test_with_both_at_nothing_nothing_is_sent_again_and_each_refusal_is_counted() -> None:
    none = HealthSettings(retry_share=0, retries_per_second=0)
    budget = RetryBudget(none, 100.0)
    budget.sent(100.0)
    assert taken(budget, none, 110.0, asked=7) == 0
    assert budget.refused == 7


STEPS = st.lists(
    st.tuples(st.sampled_from(["sent", "take", "wait"]), st.integers(1, 60)), max_size=80
)


@given(
    STEPS,
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 0.05, 0.5, 3.0, 50.0]),
)
def test_over_any_run_retries_stay_within_the_share_and_the_rate(
    steps: list[tuple[str, int]], share: float, rate: float
) -> None:
    settings = HealthSettings(retry_share=share, retries_per_second=rate)
    now, sent, retried = 100.0, 0, 0
    budget = RetryBudget(settings, now)
    for step, amount in steps:
        match step:
            case "sent":
                sent += amount
                for _ in range(amount):
                    budget.sent(now)
            case "take":
                retried += taken(budget, settings, now, asked=amount)
            case _:
                now += amount / 7
    saved = max(rate * LIFETIME, 1.0) if rate else 0.0

    assert retried <= share * sent + rate * (now - 100.0) + saved + 1e-6


@pytest.mark.parametrize("rate", [10, 1000])
def test_a_steady_stream_of_requests_earns_its_tenth_all_the_time(rate: int) -> None:
    budget = RetryBudget(ONLY_SHARE, 100.0)
    retried = 0
    for number in range(rate * 20):
        now = 100.0 + number / rate
        budget.sent(now)
        retried += number % 10 == 9 and budget.take(ONLY_SHARE, now)

    assert retried == rate * 2
