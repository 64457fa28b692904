import asyncio
from collections.abc import Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from gateway.access import Caller, StoredKey
from gateway.access.look_ups import AT_ONCE, GATHERED, MOST_WAITING, TOGETHER, LookUps
from gateway.contract.errors import StoreUnavailable

FOUND = StoredKey(bytes(32), Caller("acme", "a", "ci", "gold", None, frozenset()))


class Table:
    """Takes a second for each question, and notes how many were asked at once."""

    def __init__(self, error: Exception | None = None, *, broken: str = "") -> None:
        self.questions: list[Sequence[str]] = []
        self.now = self.most = 0
        self._error = error
        self._broken = broken

    @property
    def asked(self) -> list[str]:
        return [each for question in self.questions for each in question]

    async def load(self, public_ids: Sequence[str]) -> Mapping[str, StoredKey | None]:
        self.questions.append(public_ids)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(1)
        finally:
            self.now -= 1
        if self._error is not None:
            raise self._error
        if self._broken in public_ids:
            raise ValueError("a broken row")
        return {each: FOUND if each == "a" else None for each in public_ids if each != "in flux"}


async def test_a_thousand_who_ask_for_one_key_cause_one_look_up() -> None:
    table = Table()
    look_up = LookUps(table.load)

    found = await asyncio.gather(*(look_up("a") for _ in range(1000)))

    assert found == [FOUND] * 1000
    assert table.asked == ["a"]


async def test_few_are_looked_up_at_once() -> None:
    table = Table()
    look_up = LookUps(table.load)
    many = [str(number) for number in range(10 * TOGETHER)]

    await asyncio.gather(*(look_up(each) for each in many))

    assert table.asked == many
    assert {len(each) for each in table.questions} == {TOGETHER}
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


async def test_keys_that_are_read_again_share_questions_and_take_one_turn_of_four() -> None:
    table = Table()
    look_up = LookUps(table.load)
    many = [str(number) for number in range(2 * TOGETHER)]

    for each in many * 2:
        look_up.begin(each)
    await asyncio.sleep(0.5)
    assert table.questions == [many[:TOGETHER]]
    assert await look_up("a") is FOUND
    await asyncio.sleep(2)

    assert table.questions == [many[:TOGETHER], ["a"], many[TOGETHER:]]


async def test_few_that_are_read_again_wait_a_moment_for_others() -> None:
    table = Table()
    look_up = LookUps(table.load)

    look_up.begin("a")
    await asyncio.sleep(GATHERED / 2)
    look_up.begin("b")
    assert await look_up("b") is None  # who waits does not wait for that
    look_up.begin("c")
    await asyncio.sleep(3)

    assert table.questions == [["b"], ["a"], ["c"]]


async def test_no_more_are_read_again_than_can_be_remembered() -> None:
    table = Table()
    look_up = LookUps(table.load)

    for number in range(MOST_WAITING + 1):
        look_up.begin(str(number))
    await asyncio.sleep(100)

    assert len(table.asked) == MOST_WAITING


async def test_of_a_key_that_is_not_told_of_nobody_knows_anything() -> None:
    look_up = LookUps(Table().load)

    answers = await asyncio.gather(look_up("in flux"), look_up("a"), return_exceptions=True)

    assert isinstance(answers[0], StoreUnavailable)
    assert answers[1] is FOUND


async def test_a_row_that_makes_no_sense_is_the_trouble_of_those_alone_who_ask_for_it() -> None:
    table = Table(broken="b")
    look_up = LookUps(table.load)

    with capture_logs() as logged:
        answers = await asyncio.gather(look_up("a"), look_up("b"), return_exceptions=True)

    assert answers[0] is FOUND
    assert isinstance(answers[1], ValueError)
    assert table.questions == [["a", "b"], ["a"], ["b"]]
    assert [(each["event"], each["key"]) for each in logged] == [("key_look_up_failed", "b")]


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
    asking = asyncio.create_task(look_up("b"))
    await asyncio.sleep(0.5)

    await look_up.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert table.now == 0
    assert len(asyncio.all_tasks()) == 1


async def test_closing_ends_what_others_begin_as_they_end() -> None:
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[None]] = []

    async def broken(public_ids: Sequence[str]) -> Mapping[str, StoredKey | None]:
        if len(public_ids) == 1:
            await asyncio.sleep(1)
        closing.append(loop.create_task(look_up.aclose()))
        raise ValueError("a broken row")

    look_up = LookUps(broken)
    asking = [loop.create_task(look_up(each)) for each in "ab"]
    await asyncio.wait(asking)
    await asyncio.gather(*closing)

    assert all(each.cancelled() for each in asking)
    assert len(closing) == 1
    assert len(asyncio.all_tasks()) == 1
