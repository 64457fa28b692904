from typing import Any

import pytest

from gateway.supervisor.wellbeing import Wellbeing

UP = {"status": "up", "detail": ""}
DOWN = {"status": "down", "detail": "open, tried again in 3.0 s"}
SOME = {"status": "degraded", "detail": "probing"}


def health(status: str = "ok", **components: Any) -> dict[str, Any]:
    return {"status": status, "version": "1.2", "uptime": 3.0, "components": components}


def wellbeing() -> Wellbeing:
    times = iter([10.0, 12.5])
    return Wellbeing(lambda: next(times))


READY = {"ready": True, "message": "taking requests"}


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ({1: READY, 2: READY}, READY),
        ({1: READY, 2: None}, READY),
        ({1: None, 2: None}, {"ready": False, "message": "waiting for workers"}),
        (
            {1: {"ready": False, "message": "waiting for redis"}, 2: None},
            {"ready": False, "message": "waiting for redis"},
        ),
    ],
)
def test_all_that_answer_are_ready_or_the_first_that_is_not_says_why(
    workers: Any, expected: Any
) -> None:
    assert wellbeing().ready(workers) == expected


@pytest.mark.parametrize("order", [(UP, DOWN, SOME), (DOWN, SOME, UP), (SOME, UP, DOWN)])
def test_a_component_is_as_the_worker_says_for_whom_it_is_worst(order: Any) -> None:
    told = wellbeing().health({n: health(a=each, b=UP) for n, each in enumerate(order)})

    assert told["components"]["a"] == DOWN
    assert told["components"]["b"] == UP
    assert (told["status"], told["version"], told["uptime"]) == ("degraded", "1.2", 2.5)


def test_workers_are_components_too() -> None:
    told = wellbeing().health({1: health(a=UP), 2: None})

    assert told["components"]["worker 1"] == UP
    assert told["components"]["worker 2"]["status"] == "down"
    assert told["status"] == "degraded"
    assert wellbeing().health({1: health(a=UP)})["status"] == "ok"


def test_while_one_drains_the_gateway_does() -> None:
    assert wellbeing().health({1: health(), 2: health("draining")})["status"] == "draining"


def test_without_any_worker_there_is_an_answer_all_the_same() -> None:
    told = wellbeing().health({1: None})
    assert (told["status"], told["version"]) == ("degraded", "")
