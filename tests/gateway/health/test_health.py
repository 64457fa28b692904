"""Health by a clock that only the tests move."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import (
    ProviderAuthFailed,
    ProviderBusy,
    ProviderError,
    ProviderGarbled,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderRejected,
    ProviderUnreachable,
)
from gateway.health import Health, HealthSettings
from tests.support.health import Clock, health_of, infos

SETTINGS = HealthSettings()
LONGEST = 300.0 + SETTINGS.probe_timeout


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return health_of("a", "b", clock=clock)


def fail(health: Health, times: int, name: str = "a") -> None:
    for _ in range(times):
        health.failed(name, ProviderUnreachable("refused"))


def test_a_target_is_up_until_five_failures_in_a_row(health: Health) -> None:
    fail(health, 4)
    assert health.is_up("a")
    fail(health, 1)
    assert not health.is_up("a")
    assert health.is_up("b")
    assert health.states()["a"].state == "open"
    assert not health.states()["a"].up


def test_a_success_in_between_starts_the_count_anew(health: Health) -> None:
    fail(health, 4)
    health.succeeded("a")
    fail(health, 4)
    assert health.is_up("a")


def test_half_of_twenty_failures_open_even_if_no_five_are_in_a_row(health: Health) -> None:
    for _ in range(9):
        fail(health, 1)
        health.succeeded("a")
    health.succeeded("a")
    assert health.is_up("a")
    fail(health, 1)
    assert not health.is_up("a")


def test_after_the_cool_down_one_probe_at_a_time_is_admitted(health: Health, clock: Clock) -> None:
    fail(health, 5)
    assert not health.admits("a")
    clock.now += 10.0
    assert health.is_up("a")
    assert health.admits("a")
    assert not health.is_up("a")
    assert not health.admits("a")
    assert health.states()["a"].state == "probing"


def test_a_probe_that_succeeds_closes_and_one_that_fails_doubles_the_pause(
    health: Health, clock: Clock
) -> None:
    fail(health, 5)
    pauses = []
    for _ in range(7):
        pauses.append(health.soonest(["a"]))
        clock.now += pauses[-1]
        assert health.admits("a")
        fail(health, 1)
    assert pauses == [10, 20, 40, 80, 160, 300, 300]
    clock.now += 300
    assert health.admits("a")
    health.succeeded("a")
    assert health.states()["a"].up
    assert health.admits("a")
    assert health.admits("a")


def test_a_probe_whose_client_left_makes_room_for_the_next(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.now += 10
    assert health.admits("a")
    health.released("a")
    assert health.admits("a")


def test_a_request_that_was_not_admitted_leaves_the_probe_alone(
    health: Health, clock: Clock
) -> None:
    fail(health, 5)
    clock.now += 10
    assert health.admits("a")
    assert not health.admits("a")
    health.failed("a", ProviderBusy("being probed"))
    assert not health.admits("a")


def test_a_probe_that_never_reports_is_forgotten(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.now += 10
    assert health.admits("a")
    clock.now += SETTINGS.probe_timeout
    assert health.admits("a")


def test_ends_of_earlier_requests_neither_close_nor_lengthen_an_open_circuit(
    health: Health, clock: Clock
) -> None:
    fail(health, 5)
    clock.now += 4
    fail(health, 50)
    health.succeeded("a")
    assert health.soonest(["a"]) == pytest.approx(6)


def test_a_retry_after_is_obeyed_at_once_and_for_a_minute_at_most(
    health: Health, clock: Clock
) -> None:
    health.failed("a", ProviderRateLimited("slow down", retry_after=7))
    assert not health.is_up("a")
    assert health.states()["a"].state == "cooling"
    assert health.soonest(["a"]) == pytest.approx(7)
    clock.now += 7
    assert health.admits("a")
    assert health.admits("a")

    health.failed("b", ProviderRefused("overloaded", retry_after=1e9))
    assert health.soonest(["b"]) == pytest.approx(60)


def test_a_target_that_says_when_to_come_back_never_opens(health: Health, clock: Clock) -> None:
    for _ in range(30):
        health.failed("a", ProviderRateLimited("slow down", retry_after=1))
        clock.now += 1
        assert health.admits("a")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(ProviderAuthFailed("no"), 60.0), (ProviderQuotaExhausted("empty"), 300.0)],
)
def test_a_credential_that_is_no_good_is_left_alone_at_the_first_sign(
    health: Health, error: ProviderError, seconds: float
) -> None:
    health.failed("a", error)
    assert health.soonest(["a"]) == pytest.approx(seconds)


def test_a_request_of_the_callers_own_fault_is_a_sign_of_life(health: Health, clock: Clock) -> None:
    for _ in range(100):
        health.failed("a", ProviderRejected("too long", status=400))
        health.failed("a", ProviderBusy("full"))
    assert health.is_up("a")
    fail(health, 5)
    clock.now += 10
    assert health.admits("a")
    health.failed("a", ProviderRejected("too long", status=400))
    assert health.states()["a"].up


def test_soonest_is_that_of_the_target_that_comes_back_first(health: Health) -> None:
    fail(health, 5)
    health.failed("b", ProviderRateLimited("slow down", retry_after=3))
    assert health.soonest(["a", "b"]) == pytest.approx(3)
    assert health.soonest(["a", "b", "not configured"]) == 0
    assert health.soonest([]) == 0


def test_names_that_are_not_configured_are_up_and_leave_no_trace(health: Health) -> None:
    for number in range(10_000):
        name = f"junk-{number}"
        health.failed(name, ProviderQuotaExhausted("empty"))
        health.succeeded(name)
        health.released(name)
        assert health.is_up(name)
        assert health.admits(name)
    assert health.states().keys() == {"a", "b"}


def test_a_new_configuration_keeps_what_is_known_of_targets_that_stay(health: Health) -> None:
    fail(health, 5)
    health.configure(infos("a", "c"))
    assert not health.is_up("a")
    assert health.states().keys() == {"a", "c"}


ERRORS = st.one_of(
    st.sampled_from([ProviderUnreachable("x"), ProviderBusy("x"), ProviderGarbled("x")]),
    st.sampled_from([ProviderAuthFailed("x"), ProviderQuotaExhausted("x")]),
    st.builds(ProviderRateLimited, st.just("x"), retry_after=st.none() | st.floats()),
    st.builds(ProviderRefused, st.just("x"), retry_after=st.none() | st.floats()),
    st.builds(ProviderRejected, st.just("x"), status=st.just(400)),
)
STEPS = st.lists(
    st.one_of(ERRORS, st.sampled_from(["succeeded", "released", "admits"]), st.floats(0, 400)),
    max_size=60,
)


def play(health: Health, clock: Clock, step: object) -> None:
    match step:
        case float():
            clock.now += step
        case ProviderError():
            health.failed("a", step)
        case _:
            getattr(health, str(step))("a")


@given(STEPS)
def test_whatever_happened_a_target_comes_back_by_the_clock_alone(steps: list[object]) -> None:
    clock = Clock()
    health = health_of("a", clock=clock)
    for step in steps:
        play(health, clock, step)
        wait = health.soonest(["a"])
        assert math.isfinite(wait)
        assert 0 <= wait <= LONGEST
        assert health.is_up("a") == (wait == 0)
    clock.now += health.soonest(["a"]) + 1e-6
    assert health.is_up("a")
    assert health.admits("a")


@given(STEPS)
def test_an_open_target_never_has_two_probes_at_once(steps: list[object]) -> None:
    clock = Clock()
    health = health_of("a", clock=clock)
    for step in steps:
        play(health, clock, step)
        if health.states()["a"].state == "probing" and health.admits("a"):
            assert not health.is_up("a")
            assert not health.admits("a")
            assert 0 < health.soonest(["a"]) <= SETTINGS.probe_timeout


@given(st.lists(st.booleans(), max_size=200))
def test_only_enough_failures_take_a_target_out(results: list[bool]) -> None:
    health = health_of("a", clock=Clock())
    seen: list[bool] = []
    for succeeded in results:
        health.succeeded("a") if succeeded else fail(health, 1)
        seen.append(succeeded)
        last = seen[-SETTINGS.window :]
        too_many = len(last) == SETTINGS.window and last.count(False) >= SETTINGS.window / 2
        if not succeeded and (too_many or seen[-5:] == [False] * 5):
            assert not health.is_up("a")
            return
        assert health.is_up("a")


def test_a_retry_draws_on_the_budget_of_the_target_that_would_receive_it(
    health: Health, clock: Clock
) -> None:
    assert sum(health.may_retry("a") for _ in range(100)) == 30
    for _ in range(100):
        health.sent("a")
    assert sum(health.may_retry("a") for _ in range(100)) == 10
    assert health.may_retry("b")
    assert health.retries_refused() == {"a": 70 + 90, "b": 0}


def test_a_new_configuration_keeps_budgets_and_gives_none_anew(health: Health) -> None:
    assert sum(health.may_retry("a") for _ in range(100)) == 30
    health.configure(infos("a", "c"), HealthSettings(retries_per_second=1))

    assert not health.may_retry("a")
    assert sum(health.may_retry("c") for _ in range(100)) == 10


def test_names_that_are_not_configured_have_no_budget(health: Health) -> None:
    for _ in range(1000):
        health.sent("unknown")
        assert health.may_retry("unknown")
    assert health.retries_refused().keys() == {"a", "b"}
    assert health.prefers("unknown")


def test_a_new_configuration_of_a_target_makes_what_was_known_of_it_void(health: Health) -> None:
    fail(health, 5)
    moved = {name: replace(info, settings="elsewhere") for name, info in infos("a").items()}
    health.configure(moved | infos("b"))

    assert health.states()["a"].up


def test_probes_that_fail_open_and_hold_and_one_that_passes_closes(
    health: Health, clock: Clock
) -> None:
    for _ in range(4):
        health.probed("a", passed=False, holds=30)
    assert health.is_up("a")
    health.probed("a", passed=False, holds=30)
    assert health.soonest(["a"]) == pytest.approx(30)
    clock.now += 20
    health.probed("a", passed=False, holds=30)
    assert health.soonest(["a"]) == pytest.approx(30)
    health.probed("a", passed=True)
    assert health.states()["a"].up


def test_a_probe_that_passes_in_between_starts_the_count_anew(health: Health) -> None:
    for passed in (False, False, False, False, True) * 3:
        health.probed("a", passed=passed, holds=30)
    assert health.is_up("a")


def test_a_probe_of_a_provider_that_nobody_uses_is_no_matter(health: Health) -> None:
    for _ in range(10):
        health.probed("unknown", passed=False, holds=30)
    assert all(known.up for known in health.states().values())


def test_how_long_a_target_has_been_failing_is_told_from_its_last_success(
    health: Health, clock: Clock
) -> None:
    assert health.ill_for("a") == health.ill_for("nobody") == 0.0
    fail(health, 1)
    assert health.ill_for("a") == 0.0
    clock.now += 3.0
    fail(health, 1)
    assert health.ill_for("a") == 3.0

    health.succeeded("a")
    assert health.ill_for("a") == 0.0
    clock.now += 3.0
    fail(health, 1)
    assert health.ill_for("a") == 0.0
