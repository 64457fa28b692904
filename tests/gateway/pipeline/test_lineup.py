"""Whose turn it is: each is chosen when it comes, and has it once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.pipeline.lineup import NOBODY, Lineup
from gateway.routing import Candidate
from tests.support.pipeline import GOOD, pipeline_of


@pytest.fixture
async def candidate() -> Candidate:
    (route,) = pipeline_of(GOOD).pipeline.snapshot.routes
    return route.candidates[0]


async def test_nobody_is_chosen_before_its_turn(candidate: Candidate) -> None:
    chosen: list[str] = []

    def targets() -> Iterator[Candidate]:
        for name in "ab":
            chosen.append(name)
            yield replace(candidate, name=name)

    lineup = Lineup(targets())
    assert chosen == []

    first = lineup.first()
    assert first is not None
    assert first.name == "a"
    assert lineup.first() is first
    assert lineup.take() is first
    assert chosen == ["a"]

    second = lineup.take()
    assert second is not None
    assert second.name == "b"
    assert lineup.take() is lineup.first() is None


def test_nobody_stays_nobody() -> None:
    assert NOBODY.first() is NOBODY.take() is NOBODY.first() is None
