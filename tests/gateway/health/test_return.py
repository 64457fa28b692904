"""How a target that was left alone comes back: little by little."""

from collections import Counter
from random import Random

import pytest

from gateway.contract.errors import ProviderUnreachable
from gateway.contract.provider import AnyProvider
from gateway.health import Health, HealthSettings
from gateway.routing import Candidate, ModelSettings, Route, Routes, plan
from providers.vllm import VLLM
from tests.support.health import Clock, Draws, health_of

SETTINGS = HealthSettings(consecutive_failures=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def came_back(clock: Clock, *names: str, chance: Random) -> Health:
    """Health of targets of which the first has just come back."""
    health = health_of(*names, clock=clock, settings=SETTINGS, chance=chance)
    health.failed(names[0], ProviderUnreachable("refused"))
    clock.now += 10
    assert health.admits(names[0])
    health.succeeded(names[0])
    return health


def test_a_target_that_came_back_is_preferred_ever_more_often(clock: Clock) -> None:
    chance = Draws()
    health = came_back(clock, "a/m", "b/m", chance=chance)
    for second, share in ((0, 0.1), (10, 0.4), (20, 0.7)):
        clock.now = 1010.0 + second
        chance.number = share - 0.01
        assert health.prefers("a/m")
        chance.number = share + 0.01
        assert not health.prefers("a/m")
        assert health.states()["a/m"].share == pytest.approx(share)
    clock.now = 1040.0
    chance.number = 0.999
    assert health.prefers("a/m")


def test_it_is_up_and_admits_everyone_meanwhile(clock: Clock) -> None:
    health = came_back(clock, "a/m", "b/m", chance=Draws(0.999))

    assert not health.prefers("a/m")
    assert health.is_up("a/m")
    assert all(health.admits("a/m") for _ in range(10))
    assert health.states()["a/m"].up


def test_one_that_fails_again_at_once_is_left_alone_for_twice_as_long(clock: Clock) -> None:
    health = came_back(clock, "a/m", "b/m", chance=Draws())
    health.failed("a/m", ProviderUnreachable("refused"))

    assert health.soonest(["a/m"]) == pytest.approx(20)
    assert health.ejections() == {"a/m": 2, "b/m": 0}


def routed(*names: str, strategy: str) -> Route:
    providers: dict[str, AnyProvider] = {
        name: VLLM(name, VLLM.Settings(kind="vllm", base_url=f"http://{name}")) for name in names
    }
    targets = [{"provider": name, "model": "m"} for name in names]
    model = ModelSettings.model_validate({"targets": targets, "strategy": strategy})
    (route,) = Routes({"chat": model}, providers)
    return route


def asked_of(route: Route, health: Health, chance: Random) -> list[Candidate]:
    """Whom a request would ask, one after the other."""
    return list(plan(route, "chat", health.is_up, health.prefers, chance))


@pytest.mark.parametrize("strategy", ["ordered", "weighted"])
def test_no_herd_falls_upon_it_and_nobody_is_refused_for_its_sake(
    clock: Clock, strategy: str
) -> None:
    chance = Random(5)
    health = came_back(clock, "a/m", "b/m", "c/m", chance=chance)
    route = routed("a", "b", "c", strategy=strategy)
    fair = 1000 if strategy == "ordered" else 1000 / 3
    for second in range(30):
        clock.now = 1010.0 + second
        first: Counter[str] = Counter()
        for _ in range(1000):
            planned = asked_of(route, health, chance)
            assert len(planned) == 3
            health.admits(planned[0].name)
            first[planned[0].name] += 1

        assert first["a/m"] <= 1.2 * fair * (0.1 + 0.9 * second / 30) + 60


def test_an_only_target_has_all_of_its_requests_at_once(clock: Clock) -> None:
    health = came_back(clock, "a/m", chance=Draws(0.999))
    route = routed("a", strategy="ordered")

    for _ in range(100):
        planned = asked_of(route, health, Random(1))
        assert [each.name for each in planned] == ["a/m"]
        assert health.admits("a/m")


def test_replicas_do_not_come_back_to_it_together(clock: Clock) -> None:
    waits = set()
    for seed in range(20):
        health = health_of("a/m", clock=clock, settings=SETTINGS, chance=Random(seed))
        health.failed("a/m", ProviderUnreachable("refused"))
        waits.add(round(health.soonest(["a/m"]), 3))

    assert len(waits) > 15
    assert all(8 <= wait <= 10 for wait in waits)
