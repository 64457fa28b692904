import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gateway.access.upkeep import EVERY, PORTION, Replacement, Upkeep
from gateway.contract.errors import StoreUnavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
NEW: Replacement = (b"old", b"new", "name")


class Store:
    """Keeps what is written, in the end states and write by write."""

    def __init__(self) -> None:
        self.is_up = True
        self.writes: list[int] = []
        self.used: dict[str, datetime] = {}
        self.replaced: dict[str, Replacement] = {}

    async def write(
        self, used: Mapping[str, datetime], replaced: Mapping[str, Replacement]
    ) -> None:
        await asyncio.sleep(0.1)
        if not self.is_up:
            raise StoreUnavailable
        self.writes.append(len({*used, *replaced}))
        self.used |= used
        self.replaced |= replaced


async def test_many_uses_are_one_write_a_minute() -> None:
    store = Store()
    upkeep = Upkeep(store)
    running = asyncio.get_running_loop().create_task(upkeep.run())

    for second in range(50):
        upkeep.used("a", NOW + timedelta(seconds=second))
        upkeep.used("b", NOW)
        upkeep.replace("a", NEW)
        await asyncio.sleep(1)
    assert store.writes == []
    await asyncio.sleep(EVERY)

    assert store.writes == [2]
    assert store.used == {"a": NOW + timedelta(seconds=49), "b": NOW}
    assert store.replaced == {"a": NEW}
    running.cancel()


async def test_nothing_is_written_of_nothing() -> None:
    store = Store()
    await Upkeep(store).write()

    assert store.writes == []


async def test_what_could_not_be_written_is_written_with_the_next() -> None:
    store = Store()
    upkeep = Upkeep(store)
    store.is_up = False
    upkeep.used("a", NOW)
    upkeep.used("b", NOW)
    upkeep.replace("a", NEW)
    await upkeep.write()

    store.is_up = True
    upkeep.used("a", LATER)
    await upkeep.write()

    assert store.used == {"a": LATER, "b": NOW}
    assert store.replaced == {"a": NEW}


async def test_a_use_during_a_failing_write_is_the_later_one() -> None:
    store = Store()
    upkeep = Upkeep(store)
    store.is_up = False
    upkeep.used("a", NOW)
    writing = asyncio.get_running_loop().create_task(upkeep.write())
    await asyncio.sleep(0.05)
    upkeep.used("a", LATER)
    await writing

    store.is_up = True
    await upkeep.write()

    assert store.used == {"a": LATER}


async def test_no_transaction_is_long() -> None:
    store = Store()
    upkeep = Upkeep(store)
    for number in range(2 * PORTION + 1):
        upkeep.used(str(number), NOW)
        upkeep.replace(str(number), NEW)

    await upkeep.write()

    assert store.writes == [PORTION, PORTION, 1]
    assert len(store.used) == len(store.replaced) == 2 * PORTION + 1


async def test_what_waits_is_bounded_through_any_outage() -> None:
    store = Store()
    store.is_up = False
    upkeep = Upkeep(store, most=10)

    for round_ in range(5):
        for number in range(20):
            upkeep.used(f"{round_}-{number}", NOW)
            upkeep.replace(f"{round_}-{number}", NEW)
        await upkeep.write()
    store.is_up = True
    await upkeep.write()

    assert len(store.used) == len(store.replaced) == 10
