from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import RequestExceedsLimit
from gateway.limits.model import (
    AtOnce,
    Calendar,
    Counts,
    Limit,
    LimitReached,
    Measure,
    Reservation,
    Sliding,
    Unit,
    check_fits,
)


@given(st.integers(0, 16_000_000_000), st.sampled_from(["day", "month"]))
def test_a_period_ends_where_its_day_or_month_in_utc_does(seconds: int, unit: Unit) -> None:
    calendar, date, now = Calendar(unit), datetime.fromtimestamp(seconds, UTC), seconds * 1000

    number, end = calendar.period(now)
    last, first = (datetime.fromtimestamp(at / 1000, UTC) for at in (end - 1000, end))

    assert getattr(last, unit) == getattr(date, unit)
    assert getattr(first, unit) != getattr(last, unit)
    assert (first.hour, first.minute, first.second) == (0, 0, 0)
    assert calendar.period(end) == (number + 1, calendar.period(end)[1])
    assert calendar.resets_in(now) == end - now > 0


def test_limits_of_one_name_count_together() -> None:
    few, many = (Limit("key:k", "tokens", n, Calendar("month")) for n in (1, 2))

    assert few.name == many.name == "p:month:tokens:key:k"


@pytest.mark.parametrize(("measure", "cost"), [("requests", 1), ("tokens", 7), ("concurrency", 1)])
def test_a_request_costs_one_but_for_its_tokens(measure: Measure, cost: int) -> None:
    assert Limit("tenant:a", measure, 10, AtOnce()).cost(7) == cost


@pytest.mark.parametrize(
    ("limit", "kind", "text"),
    [
        (
            Limit("tenant:a", "requests", 9, Sliding(bucket_ms=500, buckets=60)),
            "requests",
            "Rate limit reached for requests: 9 per 30 s. Please try again in 1.25 s.",
        ),
        (
            Limit("tenant:a", "tokens", 9, Calendar("day")),
            "tokens",
            "Rate limit reached for tokens: 9 per day. Please try again in 1.25 s.",
        ),
        (
            Limit("tenant:a", "concurrency", 9, AtOnce()),
            "requests",
            "Rate limit reached for concurrency: 9 at once. Please try again in 1.25 s.",
        ),
    ],
)
def test_a_refusal_says_what_is_used_up_and_how_long_to_wait(
    limit: Limit, kind: str, text: str
) -> None:
    error = LimitReached(limit, 1250, ())

    assert (error.message, error.type, error.retry_after) == (text, kind, 1.25)


def test_what_can_never_fit_is_refused_and_what_just_fits_is_not() -> None:
    counts = Counts()
    limits = (Limit("tenant:a", "tokens", 9, Calendar("day")),)

    check_fits(limits, 9, counts)
    with pytest.raises(RequestExceedsLimit):
        check_fits(limits, 10, counts)

    assert counts == Counts(too_large=1)


def test_a_holder_is_told_once_that_it_has_lost() -> None:
    told: list[int] = []
    reservation = Reservation("r", "a", (), 0, on_lost=lambda: told.append(1))

    reservation.lose()
    reservation.lose()

    assert (reservation.lost, told) == (True, [1])


def test_a_holder_that_asked_for_no_call_finds_the_loss_noted() -> None:
    reservation = Reservation("r", "a", (), 0)

    reservation.lose()

    assert reservation.lost
