"""One target by instants that the tests choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health import HealthSettings
from gateway.health.circuit import FIRST_SHARE, JITTER, Circuit
from gateway.health.credential import Credential
from tests.support.health import Draws

SETTINGS = HealthSettings()


def circuit() -> Circuit:
    return Circuit("p/m", Credential("p"))


def test_a_pause_is_shortened_by_a_fifth_at_most_and_never_lengthened() -> None:
    for number in (0.0, 0.5, 0.999):
        opened = circuit()
        opened.open(SETTINGS, 100.0, Draws(number), kept=False)

        assert 110.0 - 10.0 * JITTER <= opened.open_until <= 110.0


def test_a_target_that_fails_again_soon_is_left_alone_for_longer_and_later_is_forgiven() -> None:
    opened, now, pauses = circuit(), 100.0, []
    for behaved in (0.0, 1.0, SETTINGS.relapse, SETTINGS.relapse + 1.0, 1.0):
        now += behaved
        opened.open(SETTINGS, now, Draws(), kept=False)
        pauses.append(opened.open_until - now)
        now = opened.open_until
        opened.close(SETTINGS, now)

    assert pauses == pytest.approx([10.0, 20.0, 40.0, 10.0, 20.0])
    assert opened.ejections == 5


def test_pauses_stop_growing_at_the_longest_however_often_it_fails() -> None:
    opened = circuit()
    for _ in range(2000):
        opened.open(SETTINGS, 100.0, Draws(), kept=False)

    assert opened.open_until == 400.0
    assert opened.ejections == 1


def test_its_share_grows_steadily_from_a_tenth_to_all() -> None:
    closed = circuit()
    assert closed.share(SETTINGS, 99.0) == 1.0
    closed.open(SETTINGS, 90.0, Draws(), kept=False)
    closed.close(SETTINGS, 100.0)

    shares = [closed.share(SETTINGS, 100.0 + second) for second in range(31)]

    assert shares[0] == pytest.approx(FIRST_SHARE)
    assert shares[15] == pytest.approx(0.55)
    assert shares[30] == 1.0
    assert shares == sorted(shares)


def test_without_a_ramp_it_has_its_share_at_once() -> None:
    closed, at_once = circuit(), HealthSettings(ramp=0)
    closed.close(at_once, 100.0)
    assert closed.share(at_once, 100.0) == 1.0

    closed.close(SETTINGS, 100.0)
    assert closed.share(at_once, 100.0) == 1.0  # a new configuration holds at once


def test_it_is_calm_again_when_nothing_is_left_to_be_considered() -> None:
    closed = circuit()
    closed.open(SETTINGS, 100.0, Draws(), kept=False)
    closed.close(SETTINGS, 110.0)
    closed.calm(139.9)
    assert closed.wary
    closed.calm(140.0)
    assert not closed.wary


@given(st.lists(st.booleans(), max_size=100), st.integers(1, 30))
def test_the_window_holds_the_last_results_and_no_others(failed: list[bool], window: int) -> None:
    settings = HealthSettings(window=window, consecutive_failures=1000)
    noted = circuit()
    for each in failed:
        noted.note(settings, failed=each)

    last = failed[-window:]
    assert (noted.results, noted.outcomes.bit_count()) == (len(last), sum(last))
    assert noted.is_too_much(settings) == (len(last) == window and sum(last) >= window / 2)
