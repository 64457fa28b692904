import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from gateway.access.holders import Holders
from gateway.access.revocations import Ended, Revocations
from gateway.contract.errors import StoreUnavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = Holders(keys=frozenset({"a"})), Holders(keys=frozenset({"b"}))


class States:
    """Knows who has ended."""

    def __init__(self, *ended: str) -> None:
        self.is_up = True
        self.asked = 0
        self._ended = frozenset(ended)

    async def ended(
        self,
        tenants: Collection[str],
        projects: Collection[tuple[str, str]],
        keys: Collection[str],
        now: datetime,
    ) -> Ended:
        self.asked += 1
        assert now == NOW
        await asyncio.sleep(0.01)
        if not self.is_up:
            raise StoreUnavailable
        return frozenset(tenants) & self._ended, frozenset(), frozenset(keys) & self._ended


@asynccontextmanager
async def running(states: States) -> AsyncIterator[tuple[Revocations, list[Holders]]]:
    revocations = Revocations(states, lambda: NOW)
    told: list[Holders] = []
    revocations.subscribe(told.append)
    task = asyncio.get_running_loop().create_task(revocations.run())
    yield revocations, told
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_those_who_have_ended_are_told_and_no_others() -> None:
    async with running(States("a", "acme")) as (revocations, told):
        revocations.suspect(Holders(frozenset({"acme", "other"}), keys=frozenset({"a", "b"})))
        await asyncio.sleep(0.1)

    assert told == [Holders(frozenset({"acme"}), keys=frozenset({"a"}))]


async def test_nobody_is_told_of_changes_that_end_nothing() -> None:
    async with running(states := States()) as (revocations, told):
        revocations.suspect(A)
        await asyncio.sleep(0.1)

    assert states.asked == 1
    assert told == []


async def test_a_change_during_a_look_is_looked_at_too() -> None:
    async with running(States("a", "b")) as (revocations, told):
        revocations.suspect(A)
        await asyncio.sleep(0.005)
        revocations.suspect(B)
        await asyncio.sleep(0.1)

    assert told == [A, B]


async def test_an_outage_delays_a_revocation_and_loses_none() -> None:
    async with running(states := States("a", "b")) as (revocations, told):
        states.is_up = False
        revocations.suspect(A)
        await asyncio.sleep(60)
        revocations.suspect(B)
        states.is_up = True
        await asyncio.sleep(1)

    assert told == [A | B]
    assert states.asked < 150
