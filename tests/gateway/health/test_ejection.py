"""How many of the targets that can stand in for one another are left alone at once."""

from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import ProviderAuthFailed, ProviderRateLimited, ProviderUnreachable
from gateway.health import Health, HealthSettings, TargetInfo
from tests.support.health import Clock, health_of

ONE_STRIKE = HealthSettings(consecutive_failures=1, ramp=0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(health: Health, *names: str) -> None:
    for name in names:
        health.failed(name, ProviderUnreachable("refused"))


def states(health: Health) -> dict[str, str]:
    return {name: known.state for name, known in health.states().items()}


@pytest.mark.parametrize(
    ("targets", "share", "most"),
    [
        (1, 0.5, 1),
        (2, 0.5, 1),
        (3, 0.5, 1),
        (4, 0.5, 2),
        (5, 0.5, 2),
        (3, 0.0, 1),
        (3, 1.0, 3),
        (10, 0.7, 7),
        (100, 0.29, 29),
    ],
)
def test_of_targets_that_all_fail_a_share_is_refused_and_one_in_any_case(
    targets: int, share: float, most: int, clock: Clock
) -> None:
    names = [f"p{number}/m" for number in range(targets)]
    settings = ONE_STRIKE.model_copy(update={"max_ejected": share})
    health = health_of(*names, clock=clock, settings=settings)
    fail(health, *names)

    assert sum(not health.is_up(name) for name in names) == most
    assert list(states(health).values()) == ["open"] * most + ["kept"] * (targets - most)


def test_one_that_is_kept_is_asked_when_no_better_one_is_left(clock: Clock) -> None:
    health = health_of("a/m", "b/m", "c/m", clock=clock, settings=ONE_STRIKE)
    fail(health, "a/m", "b/m")

    assert [health.is_up(name) for name in ("a/m", "b/m", "c/m")] == [False, True, True]
    assert [health.prefers(name) for name in ("b/m", "c/m")] == [False, True]
    assert health.soonest(["a/m", "b/m"]) == 0
    assert all(health.admits("b/m") for _ in range(5))


def test_one_that_is_kept_has_its_probe_like_others_and_is_asked_meanwhile(clock: Clock) -> None:
    health = health_of("a/m", "b/m", clock=clock, settings=ONE_STRIKE)
    fail(health, "a/m", "b/m")
    clock.now += 10

    assert health.prefers("b/m")
    assert health.admits("b/m")
    assert health.probes("b/m")
    assert not health.prefers("b/m")
    assert health.is_up("b/m")
    assert health.admits("b/m")

    fail(health, "b/m")
    assert not health.prefers("b/m")
    assert health.states()["b/m"].retry_in == pytest.approx(20)


def test_one_that_is_kept_and_answers_is_well(clock: Clock) -> None:
    health = health_of("a/m", "b/m", clock=clock, settings=ONE_STRIKE)
    fail(health, "a/m", "b/m")
    health.succeeded("b/m")

    assert states(health) == {"a/m": "open", "b/m": "up"}
    assert health.prefers("b/m")


def test_there_is_room_again_when_another_has_come_back(clock: Clock) -> None:
    health = health_of("a/m", "b/m", clock=clock, settings=ONE_STRIKE)
    fail(health, "a/m")
    clock.now += 10
    assert health.admits("a/m")
    health.succeeded("a/m")
    fail(health, "b/m")

    assert states(health) == {"a/m": "up", "b/m": "open"}


def test_cooling_and_credentials_take_no_room(clock: Clock) -> None:
    health = health_of("a/m", "b/m", "c/m", clock=clock, settings=ONE_STRIKE)
    health.failed("a/m", ProviderRateLimited("slow down", retry_after=7))
    health.failed("b/m", ProviderAuthFailed("no"))
    fail(health, "c/m")

    assert states(health) == {"a/m": "cooling", "b/m": "cooling", "c/m": "open"}


def test_one_that_is_kept_is_not_asked_while_it_cools_or_has_no_credential(clock: Clock) -> None:
    health = health_of("a/m", "b/m", clock=clock, settings=ONE_STRIKE)
    fail(health, "a/m", "b/m")
    health.succeeded("a/m")
    health.failed("b/m", ProviderRateLimited("slow down", retry_after=7))

    assert not health.is_up("b/m")
    assert not health.admits("b/m")
    assert health.soonest(["b/m"]) == pytest.approx(7)


def test_a_target_of_two_models_leaves_enough_in_both(clock: Clock) -> None:
    shared = {"a/m": ("one",), "b/m": ("one", "two"), "c/m": ("two",), "d/m": ("three",)}
    targets = {
        name: TargetInfo(name[0], frozenset((model, "chat") for model in models))
        for name, models in shared.items()
    }
    health = health_of(clock=clock, settings=ONE_STRIKE)
    health.configure(targets)
    fail(health, "a/m", "b/m", "c/m", "d/m")

    assert states(health) == {"a/m": "open", "b/m": "kept", "c/m": "open", "d/m": "open"}


NAMES = [f"{letter}/m" for letter in "abcdef"]
STEPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["fail", "succeed", "admit", "wait"])),
    max_size=80,
)


@given(st.integers(1, 6), st.floats(0, 1), STEPS)
def test_whatever_happens_no_more_than_the_share_is_refused_for_failing(
    count: int, share: float, steps: list[tuple[str, str]]
) -> None:
    clock, names = Clock(), NAMES[:count]
    settings = ONE_STRIKE.model_copy(update={"max_ejected": share})
    health = health_of(*names, clock=clock, settings=settings)
    for name, step in steps:
        match step:
            case "fail":
                fail(health, name)
            case "succeed":
                health.succeeded(name)
            case "admit":
                health.admits(name)
            case _:
                clock.now += 3
        known = states(health).values()
        assert list(known).count("open") <= max(1, floor(share * count + 1e-9))
        if count > 1 and share < 1:
            refused = [each for each in names if not health.is_up(each)]
            assert len(refused) < count
