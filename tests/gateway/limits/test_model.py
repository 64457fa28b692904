import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Measure, Reservation


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
    reservation = Reservation("r", "a", (), on_lost=lambda: told.append(1))

    reservation.lose()
    reservation.lose()

    assert (reservation.lost, told) == (True, [1])


def test_a_holder_that_asked_for_no_call_finds_the_loss_noted() -> None:
    reservation = Reservation("r", "a", ())

    reservation.lose()

    assert reservation.lost
