import pytest

from gateway.limits.counters import Instant, PeriodCounter, PlaceCounter, WindowCounter, counter_of
from gateway.limits.model import DAY_MS, AtOnce, Calendar, Limit, Sliding, Window
from tests.support.ticker import START

NOW = Instant(START, START)
TEN = Sliding(bucket_ms=1000, buckets=10)


def later(ms: int) -> Instant:
    return Instant(START + ms, START + ms)


@pytest.mark.parametrize(
    ("window", "kind"),
    [(TEN, WindowCounter), (Calendar("day"), PeriodCounter), (AtOnce(), PlaceCounter)],
)
def test_each_window_has_its_counter(window: Window, kind: type) -> None:
    assert isinstance(counter_of(Limit("tenant:a", "requests", 1, window)), kind)


def test_a_window_is_idle_once_all_has_left_or_was_given_back() -> None:
    window = WindowCounter(TEN)
    at = window.take(NOW, 5)
    assert not window.is_idle(later(10_000 - START % 1000))
    assert window.is_idle(later(11_000))

    at = window.take(later(20_000), 5)
    window.settle(later(20_000), at, 5, 0)
    assert window.is_idle(later(20_000))


def test_a_window_that_never_frees_enough_tells_its_whole_length() -> None:
    window = WindowCounter(TEN)
    window.take(NOW, 1)

    assert window.wait(NOW, 2) == 10_000


def test_a_period_is_idle_once_the_next_has_ended_too() -> None:
    period = PeriodCounter(Calendar("day"))
    at = period.take(NOW, 5)
    period.settle(NOW, at, 5, 5)

    assert not period.is_idle(NOW)
    assert not period.is_idle(later(DAY_MS))
    assert period.is_idle(later(2 * DAY_MS))
    period.settle(later(2 * DAY_MS), at, 5, 5)
    assert period.used(NOW) == 0


def test_places_are_idle_while_none_is_taken() -> None:
    places = PlaceCounter()
    assert places.is_idle(NOW)

    places.settle(NOW, places.take(NOW, 1), 1, 1)

    assert places.is_idle(NOW)


def test_a_period_that_did_not_begin_under_our_eyes_is_unseeded_until_it_is_told() -> None:
    period = PeriodCounter(Calendar("day"))
    assert period.is_unseeded(NOW, START)
    assert period.is_unseeded(later(DAY_MS), START)  # nobody has counted the day before

    period.seed(NOW, 70)

    assert not period.is_unseeded(NOW, START)
    assert period.used(NOW) == 70
    assert not period.is_unseeded(later(DAY_MS), START)
    assert period.is_unseeded(later(2 * DAY_MS), START)


def test_a_period_that_was_guessed_at_is_still_to_be_told() -> None:
    period = PeriodCounter(Calendar("day"))
    period.guess(NOW)
    period.settle(NOW, period.take(NOW, 9), 9, 5)
    assert (period.settled(NOW), period.is_unseeded(NOW, START)) == (5, True)

    period.seed(NOW, 80)

    assert (period.settled(NOW), period.is_unseeded(NOW, START)) == (80, False)
    period.guess(later(DAY_MS))
    period.take(later(3 * DAY_MS), 1)
    assert period._guessed == set()


@pytest.mark.parametrize("window", [TEN, Calendar("day"), AtOnce()])
def test_what_is_extended_is_held_in_place_of_what_was(window: Window) -> None:
    counter = counter_of(Limit("tenant:a", "tokens", 100, window))
    counter.take(NOW, 7)
    at = counter.take(NOW, 20)
    assert counter.beside(later(3000), at, 20) == 7

    at = counter.extend(later(3000), at, 20, 50)

    assert counter.used(later(3000)) == 57
    counter.settle(later(4000), at, 50, 0)
    assert counter.used(later(4000)) == 7


def test_what_is_extended_in_a_period_long_gone_is_nobodys() -> None:
    period = PeriodCounter(Calendar("day"))
    at = period.take(NOW, 5)
    period.take(later(2 * DAY_MS), 5)

    assert period.extend(later(2 * DAY_MS), at, 5, 50) == at
    assert period.used(later(2 * DAY_MS)) == 5
