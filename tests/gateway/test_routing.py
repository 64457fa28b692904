"""Which targets may answer, and in which shares."""

from collections import Counter
from collections.abc import Iterable
from itertools import permutations
from math import prod
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contract.provider import AnyProvider, Operation
from gateway.routing import (
    Candidate,
    FallbackSettings,
    ModelSettings,
    RetrySettings,
    Route,
    Routes,
    TargetSettings,
    plan,
)
from providers.huggingface import HuggingFace
from providers.openai import OpenAI
from providers.vllm import VLLM

KINDS: dict[str, type[AnyProvider]] = {"vllm": VLLM, "openai": OpenAI, "huggingface": HuggingFace}
URLS = {"openai": "https://api.openai.com"}


def provider(name: str, kind: str = "vllm", key: str = "k") -> AnyProvider:
    settings = {"kind": kind, "base_url": URLS.get(kind, "http://h"), "api_key": key}
    return KINDS[kind](name, KINDS[kind].Settings.model_validate(settings))


def route_of(weights: Iterable[int], **settings: Any) -> Route:
    """Targets `a/m`, `b/m` and so on."""
    names = dict(zip("abcdefgh", weights, strict=False))
    targets = [{"provider": name, "model": "m", "weight": weight} for name, weight in names.items()]
    model = ModelSettings.model_validate({"targets": targets, **settings})
    (route,) = Routes({"chat": model}, {name: provider(name) for name in names})
    return route


def names_of(candidates: Iterable[Candidate]) -> str:
    return "".join(each.target.provider for each in candidates)


def every_up(_: str) -> bool:
    return True


weights = st.lists(st.integers(0, 1000), min_size=1, max_size=8)


@given(weights, st.sets(st.sampled_from("abcdefgh")), st.integers())
def test_ordered_targets_are_tried_as_they_are_written(
    given_: list[int], down: set[str], seed: int
) -> None:
    route = route_of(given_)

    planned = plan(route, "chat", lambda name: name[0] not in down, every_up, Random(seed))

    assert names_of(planned) == "".join(
        each for each in "abcdefgh"[: len(given_)] if each not in down
    )


@given(weights, st.sets(st.sampled_from("abcdefgh")), st.integers())
def test_weighted_targets_are_all_tried_once_and_those_without_weight_last(
    given_: list[int], down: set[str], seed: int
) -> None:
    route = route_of(given_, strategy="weighted")
    up = [each for each in "abcdefgh"[: len(given_)] if each not in down]
    spare = [each for each in up if not given_["abcdefgh".index(each)]]

    planned = names_of(
        plan(route, "chat", lambda name: name[0] not in down, every_up, Random(seed))
    )

    assert sorted(planned) == up
    assert planned.endswith("".join(spare))


class FirstDraw(Random):
    """Its first draw is the given one."""

    def __init__(self, first: float) -> None:
        super().__init__(0)
        self._draws = [first]

    def random(self) -> float:
        return self._draws.pop() if self._draws else super().random()


@pytest.mark.parametrize("given_", [[1, 1], [1, 3], [5, 0, 3], [1, 2, 3, 4], [0, 7], [999, 1]])
def test_the_share_of_a_target_is_its_weight(given_: list[int]) -> None:
    route = route_of(given_, strategy="weighted")
    total = sum(given_)

    first = Counter(
        names_of(plan(route, "chat", every_up, every_up, FirstDraw((step + 0.5) / total)))[0]
        for step in range(total)
    )

    expected = dict(zip("abcdefgh", given_, strict=False))
    assert first == Counter({name: weight for name, weight in expected.items() if weight})


def test_a_spare_is_not_drawn_by_the_lowest_of_draws() -> None:
    route = route_of([0, 3], strategy="weighted")

    assert names_of(plan(route, "chat", every_up, every_up, FirstDraw(0.0))) == "ba"


def chance_of(order: tuple[int, ...], given_: list[int]) -> float:
    """Of drawing that order without replacement, each draw in proportion to weight."""
    return prod(given_[each] / sum(given_[i] for i in order[at:]) for at, each in enumerate(order))


def test_what_a_failed_target_leaves_goes_to_the_others_by_weight_too() -> None:
    given_, rounds = [1, 2, 5], 20_000
    route = route_of(given_, strategy="weighted")
    chance = Random(3)

    drawn = Counter(
        names_of(plan(route, "chat", every_up, every_up, chance)) for _ in range(rounds)
    )

    for order in permutations(range(3)):
        expected = chance_of(order, given_) * rounds
        name = "".join("abc"[each] for each in order)
        assert drawn[name] == pytest.approx(expected, abs=6 * expected**0.5)


def test_a_single_target_is_not_drawn_for() -> None:
    class Untouched(Random):
        def random(self) -> float:
            raise AssertionError

    route = route_of([1], strategy="weighted")
    assert names_of(plan(route, "chat", every_up, every_up, Untouched())) == "a"
    assert list(plan(route, "chat", lambda _: False, every_up, Untouched())) == []


@given(st.integers(1, 100), st.sampled_from(["ordered", "weighted"]), st.integers())
def test_while_the_first_target_answers_no_other_is_looked_at(
    count: int, strategy: str, seed: int
) -> None:
    targets = [{"provider": "a", "model": f"m{number}"} for number in range(count)]
    model = ModelSettings.model_validate({"targets": targets, "strategy": strategy})
    (route,) = Routes({"chat": model}, {"a": provider("a")})
    asked: list[str] = []

    def is_up(name: str) -> bool:
        asked.append(name)
        return True

    planned = plan(route, "chat", is_up, every_up, Random(seed))

    assert next(planned).name == asked[0]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("operation", "names"), [("chat", "ab"), ("embedding", "ab"), ("completion", "a")]
)
def test_only_targets_that_speak_the_operation_are_tried(operation: Operation, names: str) -> None:
    providers = {"a": provider("a"), "b": provider("b", "huggingface")}
    targets = [{"provider": each, "model": "org/m"} for each in providers]
    (route,) = Routes({"m": ModelSettings.model_validate({"targets": targets})}, providers)

    assert names_of(plan(route, operation, every_up, every_up, Random(1))) == names
    assert route.offering(operation)


def test_an_operation_is_offered_by_those_that_are_down_too_and_by_nobody_if_none_speaks_it() -> (
    None
):
    providers = {"b": provider("b", "huggingface")}
    model = ModelSettings.model_validate({"targets": [{"provider": "b", "model": "org/m"}]})
    (route,) = Routes({"m": model}, providers)

    assert route.offering("chat")
    assert not route.offering("completion")


def test_targets_of_inactive_providers_are_left_out() -> None:
    providers = {"a": provider("a", "openai", key=""), "b": provider("b")}
    targets = [{"provider": each, "model": "m"} for each in providers]
    routes = Routes({"chat": ModelSettings.model_validate({"targets": targets})}, providers)

    (route,) = routes
    assert names_of(route.candidates) == "b"


def test_a_model_is_found_by_its_whole_name_and_nothing_else() -> None:
    model = ModelSettings.model_validate({"targets": [{"provider": "a", "model": "m"}]})
    routes = Routes({"org/chat": model, "other": model}, {"a": provider("a")})

    assert (found := routes.find("org/chat")) is not None
    assert found.model == "org/chat"
    assert routes.find("org") is routes.find("ORG/chat") is routes.find("") is None
    assert [each.model for each in routes] == ["org/chat", "other"]


def test_a_target_carries_the_models_cap() -> None:
    (candidate,) = route_of([1], max_output=77).candidates

    assert (candidate.target.max_output, candidate.name, candidate.weight) == (77, "a/m", 1)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (TargetSettings, {"provider": "a", "model": ""}),
        (TargetSettings, {"provider": "a", "model": "m", "weight": -1}),
        (TargetSettings, {"provider": "a", "model": "m", "weight": 1001}),
        (TargetSettings, {"provider": "a", "model": "m", "wieght": 1}),
        (FallbackSettings, {"to": []}),
        (FallbackSettings, {"to": list("abcde")}),
        (FallbackSettings, {"to": ["a"], "on": ["always"]}),
        (RetrySettings, {"attempts": 0}),
        (RetrySettings, {"attempts": 11}),
        (ModelSettings, {"targets": []}),
        (ModelSettings, {"targets": [{"provider": "a", "model": "m"}], "max_output": 0}),
        (ModelSettings, {"targets": [{"provider": "a", "model": "m"}], "strategy": "fastest"}),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings.model_validate(wrong)


@given(weights, st.sets(st.sampled_from("abcdefgh")))
def test_targets_that_health_would_rather_not_ask_come_last_and_are_still_asked(
    given_: list[int], limping: set[str]
) -> None:
    route = route_of(given_)
    well = [each for each in route.candidates if each.name[0] not in limping]

    planned = plan(route, "chat", every_up, lambda name: name[0] not in limping, Random(1))

    assert list(planned) == well + [each for each in route.candidates if each not in well]
