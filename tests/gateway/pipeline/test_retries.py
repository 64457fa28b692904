"""One budget of attempts and time, and pauses that keep callers apart."""

from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.contract.errors import (
    ProviderBusy,
    ProviderDisconnected,
    ProviderError,
    ProviderRefused,
    ProviderRejected,
    ProviderUnreachable,
    Retry,
)
from gateway.pipeline.retries import Retries
from gateway.routing import RetrySettings

ERRORS: list[ProviderError] = [
    ProviderRefused("t"),
    ProviderDisconnected("t"),
    ProviderRejected("t", status=400),
]
seconds = st.floats(0.001, 100.0)


def retries(*, ends_at: float = inf, now: float = 0.0, **settings: object) -> Retries:
    return Retries(RetrySettings.model_validate(settings), ends_at=ends_at, now=lambda: now)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(ERRORS)), max_size=12),
    st.integers(1, 10),
)
def test_a_failure_allows_another_attempt_within_the_budget(
    failures: list[tuple[str, ProviderError]], attempts: int
) -> None:
    budget = retries(attempts=attempts)
    ambiguous: list[str] = []

    for number, (target, error) in enumerate(failures, start=1):
        if error.retry is Retry.ONCE:
            ambiguous.append(target)
        expected = error.retry is not Retry.FINAL and len(ambiguous) <= 1 and number < attempts
        assert budget.allow_another(target, error) is expected
        assert budget.spent_targets == set(ambiguous)


@pytest.mark.parametrize(("now", "allowed"), [(9.99, True), (10.0, False), (11.0, False)])
def test_nothing_is_tried_when_the_time_is_over(now: float, allowed: bool) -> None:
    assert retries(ends_at=10.0, now=now).allow_another("a", ERRORS[0]) is allowed


@given(backoff=seconds, max_backoff=seconds, rounds=st.integers(1, 10))
def test_a_pause_is_within_a_bound_that_doubles(
    backoff: float, max_backoff: float, rounds: int
) -> None:
    budget = retries(backoff=backoff, max_backoff=max_backoff, attempts=rounds)

    for number in range(rounds):
        pause = budget.pause(0.0)
        assert pause is not None
        assert 0.0 <= pause <= min(backoff * 2**number, max_backoff)
    assert budget.pause(0.0) is None


def test_a_target_that_was_too_busy_to_be_asked_costs_no_attempt() -> None:
    budget = retries(attempts=1)

    assert budget.allow_another("a", ProviderBusy("full"))
    assert not budget.allow_another("b", ProviderUnreachable("refused"))


def test_pauses_are_spread_over_the_whole_of_their_bound() -> None:
    pauses = [retries(backoff=1.0, max_backoff=1.0).pause(0.0) or 0.0 for _ in range(400)]

    assert {int(pause * 4) for pause in pauses} >= {0, 1, 2, 3}


@given(soonest=seconds, max_backoff=seconds)
def test_what_upstreams_ask_for_is_waited_for_or_nothing(
    soonest: float, max_backoff: float
) -> None:
    pause = retries(backoff=0.001, max_backoff=max_backoff).pause(soonest)

    if soonest > max_backoff:
        assert pause is None
    else:
        assert pause is not None
        assert soonest <= pause <= max_backoff


def test_after_the_last_round_there_is_no_pause() -> None:
    budget = retries(attempts=1)

    assert budget.pause(0.0) is not None
    assert budget.pause(0.0) is None


@given(soonest=seconds, left=seconds)
def test_a_pause_that_would_outlast_the_request_is_not_begun(soonest: float, left: float) -> None:
    assume(abs(soonest - left) > 0.01)
    pause = retries(backoff=0.001, max_backoff=1000.0, now=50.0, ends_at=50.0 + left).pause(soonest)

    assert (pause is not None) == (soonest < left)


@given(st.integers(1, 5), st.integers(0, 5))
def test_an_answer_that_broke_off_was_an_attempt_and_no_ambiguous_one(
    attempts: int, times: int
) -> None:
    budget = retries(attempts=attempts)

    for number in range(times):
        budget.broke_off(str(number))

    assert budget.has_left is (times < attempts)
    assert budget.spent_targets == set(map(str, range(times)))
    if times < attempts - 1:
        assert budget.allow_another("x", ProviderDisconnected("t"))


def test_who_gives_up_has_nothing_left() -> None:
    budget = retries(attempts=3)

    budget.give_up()

    assert not budget.has_left
    assert not budget.allow_another("a", ERRORS[0])
