import asyncio
from typing import Any

import pytest

from gateway.simulator import SimulatorSettings
from gateway.simulator.pace import Pace
from gateway.simulator.play import Player, Run
from gateway.simulator.script import Pause
from gateway.simulator.state import Counts


class Wire:
    """An exchange and its link, with all that was written and waited for."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.link = self

    async def start(self, status: int, _: Any) -> None:
        self.done.append(status)

    async def write(self, raw: bytes) -> None:
        self.done.append(raw)

    async def end(self) -> None:
        self.done.append("end")

    async def pause(self, seconds: float) -> None:
        self.done.append(seconds)


def player(wire: Any, counts: Counts, *, burst: int = 1, **settings: Any) -> Player:
    chosen = SimulatorSettings.model_validate(settings)
    pace = Pace(chosen, choices=1, chances=iter(()), clock=lambda: 10.0)
    return Player(wire, Run(pace, counts, 9.5, lambda: 10.0), burst)


async def test_events_share_writes_of_the_burst_and_the_rest_comes_at_the_end() -> None:
    wire, counts = Wire(), Counts()
    playing = player(wire, counts, burst=2)

    for raw in (b"a", b"b", b"c"):
        await playing.play((raw, 1))
    await playing.end()

    assert wire.done == [200, b"ab", b"c", "end"]


async def test_tokens_are_counted_with_the_time_of_the_first_and_between_the_others() -> None:
    counts = Counts()
    playing = player(Wire(), counts)

    for tokens in (0, 1, 1, 1):
        await playing.play((b"x", tokens))

    assert counts.completion_tokens == 3
    assert counts.first_token.total == 0.5
    assert dict(counts.between_tokens.buckets())["+Inf"] == 2


async def test_what_was_said_before_a_pause_is_sent_before_it() -> None:
    wire = Wire()
    playing = player(wire, Counts(), burst=10)

    await playing.play((b"a", 1))
    await playing.play(Pause(3.0))

    assert wire.done == [200, b"a", 3.0]


async def test_a_limited_answer_waits_before_each_token() -> None:
    wire = Wire()
    playing = player(wire, Counts(), tokens_per_second=10)

    await playing.play((b"a", 1))

    assert wire.done == [pytest.approx(0.1), 200, b"a"]


async def test_others_have_their_turn_between_two_writes() -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    playing = player(Wire(), Counts())
    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        await playing.play((b"a", 1))
        assert turns == ["other"]
