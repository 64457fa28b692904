import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.access import Caller, StoredKey
from gateway.access.look_ups import AT_ONCE, MOST_WAITING, LookUps
from gateway.contract.errors import StoreUnavailable

FOUND = StoredKey(bytes(32), Caller("acme", "a", "ci", "gold", None, frozenset()))


class Table:
    """Takes a second for each key, and notes how many were asked for at once."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.now = self.most = 0
        self._error = error

    async def load(self, public_id: str) -> StoredKey | None:
        self.asked.append(public_id)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(1)
        finally:
            self.now -= 1
        if self._error is not None:
            raise self._error
        return FOUND if public_id == "a" else None


async def test_a_thousand_who_ask_for_one_key_cause_one_look_up() -> None:
    table = Table()
    look_up = LookUps(table.load)

    found = await asyncio.gather(*(look_up("a") for _ in range(1000)))

    assert found == [FOUND] * 1000
    assert table.asked == ["a"]


async def test_few_are_looked_up_at_once() -> None:
    table = Table()
    look_up = LookUps(table.load)

    await asyncio.gather(*(look_up(str(number)) for number in range(50)))

    assert len(table.asked) == 50
    assert table.most == AT_ONCE == 4


async def test_a_key_is_looked_up_again_when_the_last_one_has_ended() -> None:
    table = Table()
    look_up = LookUps(table.load)

    assert await look_up("b") is None
    assert await look_up("b") is None
    assert table.asked == ["b", "b"]


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    table = Table()
    look_up = LookUps(table.load)
    loop = asyncio.get_running_loop()

    first, second = loop.create_task(look_up("a")), loop.create_task(look_up("a"))
    await asyncio.sleep(0.5)
    first.cancel()

    assert await second is FOUND
    assert first.cancelled()
    assert table.asked == ["a"]


async def test_everybody_hears_of_a_failure_and_the_next_one_tries_anew() -> None:
    table = Table(StoreUnavailable())
    look_up = LookUps(table.load)

    answers = await asyncio.gather(look_up("a"), look_up("a"), return_exceptions=True)

    assert [type(each) for each in answers] == [StoreUnavailable] * 2
    with pytest.raises(StoreUnavailable):
        await look_up("a")
    assert table.asked == ["a", "a"]


async def test_a_failure_that_nobody_waits_for_is_logged_unless_it_is_an_outage() -> None:
    with capture_logs() as logged:
        for error in (StoreUnavailable(), ValueError("a broken row")):
            LookUps(Table(error).load).begin("a")
        await asyncio.sleep(2)

    assert [(each["event"], each["key"]) for each in logged] == [("key_look_up_failed", "a")]


async def test_a_look_up_in_the_background_gives_way_to_those_that_are_waited_for() -> None:
    table = Table()
    look_up = LookUps(table.load)

    for number in range(10):
        look_up.begin(str(number))
    await asyncio.sleep(0.5)

    assert table.asked == ["0", "1", "2", "3"]


async def test_whoever_would_wait_behind_too_many_is_told_so() -> None:
    look_up = LookUps(Table().load)
    loop = asyncio.get_running_loop()

    waiting = [loop.create_task(look_up(str(number))) for number in range(MOST_WAITING)]
    await asyncio.sleep(0)

    with pytest.raises(StoreUnavailable):
        await look_up("another")
    await look_up.aclose()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_closing_ends_what_runs() -> None:
    table = Table()
    look_up = LookUps(table.load)
    look_up.begin("a")
    await asyncio.sleep(0.5)

    await look_up.aclose()

    assert table.now == 0
    assert len(asyncio.all_tasks()) == 1
