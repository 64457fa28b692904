import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.model import (
    DAY_MS,
    ENDLESS,
    NOT_LIMITED,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Instant,
    Limit,
    Limits,
    Measure,
    Reservation,
    Sliding,
    Standing,
    Standings,
)

MINUTE = Sliding(bucket_ms=1000, buckets=60)


def test_limits_of_one_name_count_together() -> None:
    few, many = (Limit("key:k", "tokens", n, Calendar("month")) for n in (1, 2))

    assert few.name == many.name == "p:month:tokens:key:k"


@pytest.mark.parametrize(
    ("measure", "cost"), [("requests", 1), ("tokens", 7), ("concurrency", 1), ("money", 900)]
)
def test_a_request_costs_one_but_for_its_tokens_and_its_money(measure: Measure, cost: int) -> None:
    assert Limit("tenant:a", measure, 10, AtOnce()).cost(Amounts(7, 900)) == cost


@given(st.integers(0, 99), st.integers(0, 9), st.integers(0, 99), st.integers(0, 200))
def test_no_higher_cap_would_fit(fixed: int, each: int, cap: int, room: int) -> None:
    limit, ask = Limit("t", "money", 1, AtOnce()), Ask(Amounts(0, fixed), Amounts(0, each), cap)

    within = limit.cap_within(ask, room)

    assert -1 <= within <= cap
    assert within == max(
        (each for each in range(cap + 1) if limit.cost(ask.at(each)) <= room), default=-1
    )


def test_a_holder_is_told_once_that_it_has_lost() -> None:
    told: list[int] = []
    reservation = Reservation("r", "a", ())
    reservation.on_lost = lambda: told.append(1)

    reservation.lose()
    reservation.lose()

    assert (reservation.lost, told) == (True, [1])


def test_a_holder_that_asked_for_no_call_finds_the_loss_noted() -> None:
    reservation = Reservation("r", "a", ())

    reservation.lose()

    assert reservation.lost


def test_what_all_limits_of_a_caller_can_hold_is_what_the_least_of_each_kind_can() -> None:
    limits = Limits(
        (
            Limit("tenant:a", "tokens", 100, MINUTE),
            Limit("key:k", "tokens", 70, Calendar("day")),
            Limit("key:k", "requests", 9, MINUTE),
        )
    )

    assert limits.most == Amounts(70, ENDLESS)
    assert (limits.counts_tokens, limits.counts_money) == (True, False)
    assert Limits((*limits, Limit("key:k", "concurrency", 0, AtOnce()))).most == Amounts(-1, -1)


def test_limits_are_known_together_once() -> None:
    limits = Limits.of((Limit("tenant:a", "money", 1, Calendar("day")),))

    assert limits.counts_money
    assert Limits.of(limits) is limits


def test_how_limits_stand_is_told_of_each_by_its_own_clock() -> None:
    limits = Limits(
        (
            Limit("tenant:a", "requests", 9, MINUTE),
            Limit("tenant:a", "tokens", 100, Calendar("day")),
            Limit("tenant:a", "concurrency", 5, AtOnce()),
        )
    )

    standings = Standings(limits, [8, 40, 5], Instant(steady=5_300, wall=DAY_MS + 1))

    assert list(standings) == [
        Standing(limits[0], 8, 60.7),
        Standing(limits[1], 40, 86_399.999),
        Standing(limits[2], 5, 0),
    ]
    assert (len(standings), standings[1].remaining) == (3, 40)
    assert not NOT_LIMITED
