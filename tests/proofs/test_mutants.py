"""Every fault that is put into the limiters is noticed by the invariant that it breaks."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.proofs.claims import CLAIMS
from tests.proofs.histories import sides, wander
from tests.proofs.mutants import IN_PROCESS, SCRIPTS, Mutant
from tests.support.redis_server import RedisServer

PATIENCE = 400
"""Histories in which a fault must show."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RedisServer() as server:
        yield server.url


@pytest.mark.parametrize("mutant", SCRIPTS + IN_PROCESS, ids=str)
def test_the_text_that_a_mutant_replaces_is_there_and_once(mutant: Mutant) -> None:
    assert mutant.original().count(mutant.old) == 1
    assert mutant.new != mutant.old


@pytest.mark.parametrize("mutant", SCRIPTS + IN_PROCESS, ids=str)
def test_a_mutant_is_noticed_by_the_invariant_that_it_breaks(
    mutant: Mutant, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.put_in(monkeypatch)
    side = sides("memory" if mutant in IN_PROCESS else "redis", url)
    with asyncio.Runner() as runner:
        for seed in range(PATIENCE):
            try:
                runner.run(wander(side, CLAIMS[mutant.breaks], seed, often=mutant.often))
            except AssertionError:
                return
    pytest.fail("it survived")


@pytest.mark.parametrize("mutants", [SCRIPTS, IN_PROCESS], ids=["redis", "memory"])
def test_every_invariant_has_a_mutant(mutants: tuple[Mutant, ...]) -> None:
    assert {mutant.breaks for mutant in mutants} == CLAIMS.keys()
