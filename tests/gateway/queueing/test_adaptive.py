"""A limit that finds itself: what it learns from, and the bounds that it keeps."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.concurrency import AdaptiveSettings
from gateway.queueing.adaptive import SPELL, AdaptiveLimit, Ended

FINE = Ended(0.2, overloaded=False, in_use=True)
OVERLOADED = Ended(None, overloaded=True, in_use=True)


def limit(most: int | None = None, **settings: float) -> AdaptiveLimit:
    return AdaptiveLimit(AdaptiveSettings.model_validate(settings), most, 0.0)


def test_a_limit_full_of_successes_makes_room_for_one_more() -> None:
    adaptive = limit(start=10)

    for _ in range(10 + 1):
        adaptive.ended(FINE, 1.0)

    assert adaptive.limit == 11


def test_it_does_not_grow_while_slots_are_free() -> None:
    adaptive = limit(start=10)

    for _ in range(100):
        adaptive.ended(Ended(0.2, overloaded=False, in_use=False), 1.0)

    assert adaptive.limit == 10


def test_a_request_that_never_had_an_answer_says_nothing() -> None:
    adaptive = limit(start=10)

    for _ in range(100):
        adaptive.ended(Ended(None, overloaded=False, in_use=True), 1.0)

    assert adaptive.limit == 10


def test_overload_takes_a_tenth_and_a_burst_of_it_counts_once() -> None:
    adaptive = limit(start=100)

    for _ in range(50):
        adaptive.ended(OVERLOADED, 5.0)

    assert adaptive.limit == 90


def test_overload_that_lasts_takes_a_tenth_in_every_round_trip() -> None:
    adaptive = limit(start=100)
    adaptive.ended(Ended(0.5, overloaded=False, in_use=False), 0.0)

    for step in range(20):  # 2 s: four round trips
        adaptive.ended(OVERLOADED, 1 + step * 0.1)

    assert adaptive.limit == int(100 * 0.9**4)


def test_answers_that_come_later_and_later_are_overload_too() -> None:
    adaptive = limit(start=50, tolerance=2)
    now = 0.0
    for _ in range(100):
        now += 0.1
        adaptive.ended(Ended(0.1, overloaded=False, in_use=False), now)

    for _ in range(100):
        now += 0.1
        adaptive.ended(Ended(1.0, overloaded=False, in_use=True), now)

    assert adaptive.limit < 25


def test_slow_answers_do_not_count_while_slots_are_free() -> None:
    adaptive = limit(start=50, tolerance=2)
    for seconds in [0.1] * 20 + [10.0] * 20:
        adaptive.ended(Ended(seconds, overloaded=False, in_use=False), 1.0)

    assert adaptive.limit == 50


def test_what_was_fast_long_ago_is_forgotten() -> None:
    adaptive = limit(start=50, tolerance=2)
    for _ in range(20):
        adaptive.ended(Ended(0.1, overloaded=False, in_use=False), 1.0)
    for spell in range(1, 4):  # prompts have become longer
        for _ in range(200):
            adaptive.ended(Ended(1.0, overloaded=False, in_use=False), spell * SPELL + 1)
    before = adaptive.limit

    for _ in range(60):
        adaptive.ended(Ended(1.0, overloaded=False, in_use=True), 3 * SPELL + 2)

    assert adaptive.limit > before


@pytest.mark.parametrize(
    ("most", "settings", "begins"),
    [
        (None, {"start": 5000}, 1000),
        (8, {}, 8),
        (8, {"min": 20}, 8),
        (None, {"min": 20, "start": 1}, 20),
        (None, {"max": 4}, 4),
        (None, {}, 16),
    ],
)
def test_it_begins_within_its_bounds(
    most: int | None, settings: dict[str, float], begins: int
) -> None:
    assert limit(most, **settings).limit == begins


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(0, 1e4)), st.booleans(), st.booleans(), st.floats(0, 99)
        ),
        max_size=200,
    ),
    st.integers(1, 40),
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(1, 40)),
)
def test_it_stays_within_its_bounds(
    ends: list[tuple[float | None, bool, bool, float]], one: int, other: int, most: int | None
) -> None:
    low, high = sorted((one, other))
    adaptive, now = limit(most, min=low, max=high), 0.0
    top = high if most is None else min(high, most)

    for seconds, overloaded, in_use, passed in ends:
        now += passed
        adaptive.ended(Ended(seconds, overloaded=overloaded, in_use=in_use), now)
        assert min(low, top) <= adaptive.limit <= top


def test_it_finds_what_an_upstream_can_do_and_stays_near_it() -> None:
    capacity, adaptive, chance = 40, limit(start=4), Random(3)
    now, seen = 0.0, []
    for _ in range(20_000):  # full all the time; what is too much is refused
        now += 0.2 / adaptive.limit
        refused = adaptive.limit > capacity and chance.random() < 1 - capacity / adaptive.limit
        adaptive.ended(OVERLOADED if refused else FINE, now)
        seen.append(adaptive.limit)

    settled = seen[len(seen) // 2 :]
    assert 0.8 * capacity <= sum(settled) / len(settled) <= 1.1 * capacity
