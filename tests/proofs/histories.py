"""
Histories at random: drawn by hypothesis, which finds a short one where a claim fails, or by a
seeded dice, which is quick.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.proofs.sides import InProcess, OnRedis, Side
from tests.proofs.world import ACME, STEPS, Claim, Setting, Step, World
from tests.support.ticker import Ticker

LENGTH = 50
"""Steps of a history at most."""

LIKED = 15
"""What is added to the weight of a step that shall be taken often."""

Sides = Callable[[Ticker], Side]


def sides(name: str, url: str) -> Sides:
    """How to make a fresh `memory` or `redis` side."""
    if name == "memory":
        return InProcess
    return lambda ticker: OnRedis(url, ticker, ACME)


def prove(side: Sides, claims: Sequence[Claim], *, examples: int, shorten: bool = True) -> int:
    """
    Hold claims against histories that hypothesis draws; how many requests they admitted.

    Raises:
        AssertionError: a claim does not hold; the history is told, and if `shorten` then the
            shortest that was found.
    """
    admitted = 0
    phases = [phase for phase in Phase if shorten or phase not in (Phase.shrink, Phase.explain)]

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )
    @given(begins=_numbers(Setting.RANGES), drawn=st.lists(_draws(), min_size=20, max_size=LENGTH))
    def hold(begins: tuple[int, ...], drawn: list[Draw]) -> None:
        nonlocal admitted
        steps = [_step(*each) for each in drawn]
        note(f"{Setting(*begins)}\n" + "\n".join(f"{name} {told}" for name, told in steps))
        admitted += runner.run(_live(side, claims, Setting(*begins), steps)).reached

    with asyncio.Runner() as runner:
        hold()
    return admitted


Draw = tuple[str, int]
"""A step whose numbers are the digits of one: hypothesis takes its time for every number."""


def _draws() -> st.SearchStrategy[Draw]:
    names = [name for name, (weight, _) in STEPS.items() for _ in range(weight)]
    return st.tuples(st.sampled_from(names), st.integers(0, 2**64))


def _step(name: str, digits: int) -> Step:
    numbers = []
    for low, high in STEPS[name][1]:
        digits, digit = divmod(digits, high - low + 1)
        numbers.append(low + digit)
    return name, tuple(numbers)


def _numbers(ranges: Sequence[tuple[int, int]]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*(st.integers(low, high) for low, high in ranges))


async def wander(
    side: Sides, claims: Sequence[Claim], seed: int, *, often: Sequence[str] = ()
) -> World:
    """One history by a seeded dice, which likes some steps."""
    chance = Random(seed)
    names = list(STEPS)
    weights = [weight + LIKED * (name in often) for name, (weight, _) in STEPS.items()]
    begins = Setting(*_drawn(chance, Setting.RANGES))
    chosen = chance.choices(names, weights, k=LENGTH)
    steps = [(name, _drawn(chance, STEPS[name][1])) for name in chosen]
    return await _live(side, claims, begins, steps)


def _drawn(chance: Random, ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(chance.randint(low, high) for low, high in ranges)


async def _live(
    side: Sides, claims: Sequence[Claim], begins: Setting, steps: Sequence[Step]
) -> World:
    """One history, to its end."""
    ticker = Ticker()
    world = World(side(ticker), ticker, claims)
    try:
        await world.begin(begins)
        for name, numbers in steps:
            await world.step(name, numbers)
        await world.finish()
    finally:
        await world.side.close()
    return world
