import pytest

from gateway.limits.counts import Counts
from gateway.limits.model import Measure


@pytest.mark.parametrize("measure", ["requests", "tokens", "concurrency", "money"])
def test_refusals_are_counted_by_measure(measure: Measure) -> None:
    counts = Counts()

    counts.refused(measure)

    assert counts == Counts(**{f"refused_{measure}": 1})


def test_only_what_was_used_beyond_the_reservation_is_overshoot() -> None:
    counts = Counts()

    counts.overshot(5, -3)
    counts.overshot(-9, 4)

    assert (counts.overshoot_tokens, counts.overshoot_cost) == (5, 4)
