from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest

from gateway.simulator import SimulatorSettings
from gateway.simulator.dice import fractions
from gateway.simulator.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pace(
    clock: Clock, *, choices: int = 1, chances: Iterator[float] | None = None, **settings: Any
) -> Pace:
    return Pace(
        SimulatorSettings.model_validate(settings),
        choices=choices,
        chances=chances or repeat(0.5),
        clock=clock,
    )


def test_waits_follow_a_schedule_and_a_late_token_is_not_waited_for() -> None:
    clock = Clock()
    speed = pace(clock, time_to_first_token=1, tokens_per_second=10)

    assert speed.first() == pytest.approx(1)
    clock.now += 1
    assert speed.next(1) == pytest.approx(0.1)
    clock.now += 0.35
    assert speed.next(1) < 0
    assert speed.next(2) == pytest.approx(0.05)


def test_choices_are_made_side_by_side() -> None:
    speed = pace(Clock(), choices=4, tokens_per_second=10)

    assert [speed.next(1) for _ in range(4)][-1] == pytest.approx(0.1)


def test_without_a_speed_there_is_nothing_to_wait_for() -> None:
    speed = pace(Clock())

    assert not speed.limited
    assert speed.first() == speed.next(5) == 0


def test_jitter_varies_a_wait_by_its_share_and_no_more() -> None:
    clock = Clock()
    speed = pace(clock, chances=fractions(1), time_to_first_token=1, jitter=0.2)

    waits = []
    for _ in range(200):
        waits.append(speed.first())
        clock.now += waits[-1]

    assert 0.8 <= min(waits) < 0.85
    assert 1.15 < max(waits) <= 1.2
