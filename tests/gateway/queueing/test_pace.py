"""Waits are told from how long slots have been held."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.queueing.pace import Pace


def worked(*, slots: int, seconds: float, rounds: int) -> tuple[Pace, float]:
    """A provider whose slots were all in use, each for so long, evenly spread."""
    pace, now = Pace(0.0), 0.0
    for _ in range(rounds * slots):
        now += seconds / slots
        pace.tick(slots, now)
        pace.ended()
    return pace, now


def test_nothing_is_known_at_first() -> None:
    assert Pace(0.0).wait(turns=7, in_flight=0, limit=4) == 0


@pytest.mark.parametrize(("slots", "seconds"), [(1, 0.5), (4, 1.0), (64, 0.2), (16, 5.0)])
def test_turns_come_as_fast_as_slots_become_free(slots: int, seconds: float) -> None:
    pace, _ = worked(slots=slots, seconds=seconds, rounds=100)

    assert pace.wait(10, slots, slots) == pytest.approx(10 * seconds / slots, rel=0.1)


def test_a_higher_limit_shortens_the_wait() -> None:
    pace, _ = worked(slots=4, seconds=1, rounds=20)

    assert pace.wait(8, 4, 8) == pytest.approx(pace.wait(8, 4, 4) / 2)


def test_a_provider_that_has_stopped_is_seen_to_be_slow() -> None:
    pace, now = worked(slots=4, seconds=0.1, rounds=100)
    before = pace.wait(4, 4, 4)

    pace.tick(4, now + 30)  # and nothing has ended

    assert pace.wait(4, 4, 4) > 2 * before


def test_a_first_burst_does_not_look_endless() -> None:
    pace = Pace(0.0)

    pace.tick(64, 1.0)
    pace.ended()

    assert pace.wait(1, 64, 64) < 0.1  # true: 1/64 s


def test_what_was_slow_is_forgotten() -> None:
    pace, now = worked(slots=2, seconds=20, rounds=20)
    for _ in range(600):
        now += 0.5
        pace.tick(2, now)
        pace.ended()

    assert pace.wait(1, 2, 2) == pytest.approx(0.5, rel=0.2)


def test_a_night_without_requests_is_no_harm() -> None:
    pace, now = worked(slots=4, seconds=1, rounds=5)

    pace.tick(0, now + 1e6)

    assert pace.wait(5, 0, 4) == 0


@given(
    st.lists(st.tuples(st.integers(0, 100), st.floats(-1, 1e7), st.booleans()), max_size=30),
    st.integers(1, 1000),
)
def test_every_wait_is_finite_and_longer_for_those_behind(
    steps: list[tuple[int, float, bool]], turns: int
) -> None:
    pace, now = Pace(0.0), 0.0
    for in_flight, passed, ended in steps:
        now += passed
        pace.tick(in_flight, now)
        if ended:
            pace.ended()

    first, behind = pace.wait(turns, 1, 4), pace.wait(2 * turns, 1, 4)

    assert 0 <= first < float("inf")
    assert isclose(behind, 2 * first)
