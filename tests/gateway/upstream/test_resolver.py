import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
import pytest

from gateway.upstream import resolver as module
from gateway.upstream.resolver import (
    FRESH,
    MAX_ADDRESSES,
    MAX_ASKING,
    MAX_NAMES,
    PAUSE,
    NoRoom,
    Resolver,
)

NXDOMAIN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
SERVFAIL = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_FILES = OSError(errno.EMFILE, "Too many open files")
LONG = "a" * 70 + ".example"


class Names:
    """A system resolver that says what it is told to, and hangs on request until released."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.hangs = False
        self.released = threading.Event()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.hangs:
            assert self.released.wait(60)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def asking(
    names: Names, clock: Clock | None = None, *, patience: float = 5.0
) -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    yield Resolver(
        timeout=patience, stale=300.0, clock=clock or loop.time, chance=Random(1), resolve=names
    )
    names.released.set()
    for thread in threading.enumerate():
        if thread.name == "resolver":
            await loop.run_in_executor(None, thread.join, 10)
    await asyncio.sleep(0)


async def test_a_name_is_asked_for_once_while_its_answer_is_fresh():
    names, clock = Names(["1.1.1.1", "1.0.0.1", "1.1.1.1"]), Clock()
    async with asking(names, clock) as resolver:
        for _ in range(5):
            assert await resolver.addresses("a.example") == ("1.1.1.1", "1.0.0.1")
            clock.now += FRESH * 0.15
    assert names.asked == ["a.example"]


async def test_an_answer_grows_old_at_an_instant_of_its_own():
    names, clock = Names(["1.1.1.1"]), Clock()
    async with asking(names, clock) as resolver:
        for number in range(50):
            await resolver.addresses(f"{number}.example")
        expiries = {known.ask_at - clock.now for known in resolver._known.values()}
    assert len(expiries) > 40
    assert all(0.8 * FRESH <= each <= 1.2 * FRESH for each in expiries)


async def test_a_new_answer_replaces_the_old_one():
    names, clock = Names(["1.1.1.1"], ["2.2.2.2"]), Clock()
    async with asking(names, clock) as resolver:
        assert await resolver.addresses("a.example") == ("1.1.1.1",)
        clock.now += FRESH * 1.3
        assert await resolver.addresses("a.example") == ("2.2.2.2",)


async def test_all_who_ask_at_once_ask_once():
    names = Names(["1.1.1.1"])
    names.hangs = True
    async with asking(names) as resolver, asyncio.TaskGroup() as group:
        tasks = [group.create_task(resolver.addresses("a.example")) for _ in range(100)]
        await asyncio.sleep(0.01)
        names.released.set()
    assert [await task for task in tasks] == [("1.1.1.1",)] * 100
    assert names.asked == ["a.example"]


async def test_whoever_gives_up_does_not_end_the_question_of_the_others():
    names = Names(["1.1.1.1"])
    names.hangs = True
    async with asking(names) as resolver, asyncio.TaskGroup() as group:
        impatient = group.create_task(resolver.addresses("a.example"))
        patient = group.create_task(resolver.addresses("a.example"))
        await asyncio.sleep(0.01)
        impatient.cancel()
        await asyncio.sleep(0)
        names.released.set()
    assert await patient == ("1.1.1.1",)
    assert impatient.cancelled()


@pytest.mark.parametrize(
    "answer", [NXDOMAIN, SERVFAIL, [], UnicodeError("label too long")], ids=repr
)
async def test_02_a_name_without_an_address_is_a_connect_error(answer):
    async with asking(Names(answer)) as resolver:
        with pytest.raises(httpx.ConnectError, match="no address: ") as failure:
            await resolver.addresses("a.example")
    if isinstance(answer, Exception):
        assert failure.value.__cause__ is answer


@pytest.mark.parametrize("answer", [NXDOMAIN, SERVFAIL, []], ids=repr)
async def test_02_the_last_good_answer_stands_in_for_five_minutes(answer):
    names, clock = Names(["1.1.1.1"], answer), Clock()
    async with asking(names, clock) as resolver:
        await resolver.addresses("a.example")
        for seconds in (FRESH * 1.3, 200.0, 60.0):
            clock.now += seconds
            assert await resolver.addresses("a.example") == ("1.1.1.1",)
        clock.now = 1000.0 + 300.0
        with pytest.raises(httpx.ConnectError):
            await resolver.addresses("a.example")


async def test_02_a_question_that_failed_is_not_repeated_at_once():
    names, clock = Names(SERVFAIL, SERVFAIL, ["1.1.1.1"]), Clock()
    async with asking(names, clock) as resolver:
        for _ in range(10):
            with pytest.raises(httpx.ConnectError):
                await resolver.addresses("a.example")
        assert len(names.asked) == 1
        clock.now += PAUSE
        with pytest.raises(httpx.ConnectError):
            await resolver.addresses("a.example")
        clock.now += PAUSE
        assert await resolver.addresses("a.example") == ("1.1.1.1",)


async def test_02_a_resolver_that_hangs_holds_up_nobody_longer_than_its_time():
    names = Names(["1.1.1.1"])
    names.hangs = True
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asking(names, patience=0.2) as resolver:
        ticking = asyncio.get_running_loop().create_task(turning())
        with pytest.raises(httpx.ConnectError, match="in time"):
            await resolver.addresses("a.example")
        assert turns > 1  # the loop went on while the thread hung
        ticking.cancel()
        before = asyncio.get_running_loop().time()
        for _ in range(1000):  # who comes later does not wait for the same question again
            with pytest.raises(httpx.ConnectError):
                await resolver.addresses("a.example")
        assert asyncio.get_running_loop().time() - before < 1000 * 0.2 / 10
        assert names.asked == ["a.example"]
        names.released.set()
        question = resolver._known["a.example"].asking
        assert question is None or await asyncio.wait_for(question, 10) is None
        assert await resolver.addresses("a.example") == ("1.1.1.1",)


async def test_02_while_it_hangs_the_last_good_answer_is_used():
    names, clock = Names(["1.1.1.1"]), Clock()
    async with asking(names, clock, patience=0.05) as resolver:
        await resolver.addresses("a.example")
        names.hangs = True
        clock.now += FRESH * 1.3
        assert await resolver.addresses("a.example") == ("1.1.1.1",)
        clock.now += 200.0
        assert await resolver.addresses("a.example") == ("1.1.1.1",)
        clock.now += 100.0
        with pytest.raises(httpx.ConnectError):
            await resolver.addresses("a.example")
        assert len(names.asked) == 2


async def test_02_questions_that_hang_take_a_few_threads_and_not_the_executors():
    names = Names(["1.1.1.1"])
    names.hangs = True
    async with asking(names, patience=0.05) as resolver, asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        asked = [resolver.addresses(f"{number}.example") for number in range(3 * MAX_ASKING)]
        for question in asked:
            group.create_task(expecting_failure(question))
        await asyncio.sleep(0.01)
        assert await loop.run_in_executor(None, len, "free") == 4
    assert len(names.asked) == MAX_ASKING
    assert resolver._asking == 0


async def expecting_failure(question) -> None:
    with pytest.raises(httpx.ConnectError):
        await question


async def test_02_a_question_that_hangs_does_not_hold_up_the_end_of_the_loop():
    names = Names(["1.1.1.1"])
    names.hangs = True

    async def asks() -> None:
        loop = asyncio.get_running_loop()
        resolver = Resolver(
            timeout=0.01, stale=0.0, clock=loop.time, chance=Random(1), resolve=names
        )
        with pytest.raises(httpx.ConnectError):
            await resolver.addresses("a.example")

    # In a loop of its own, which ends while the question is open; the answer then finds nobody.
    await asyncio.get_running_loop().run_in_executor(None, asyncio.run, asks())
    (question,) = [each for each in threading.enumerate() if each.name == "resolver"]
    assert question.daemon
    names.released.set()
    await asyncio.get_running_loop().run_in_executor(None, question.join, 10)


async def test_76_a_process_without_files_can_not_ask_which_is_no_fault_of_the_names():
    async with asking(Names(NO_FILES)) as resolver:
        with pytest.raises(NoRoom):
            await resolver.addresses("a.example")


async def test_76_a_system_without_threads_is_told_apart_from_a_name_without_addresses(monkeypatch):
    class NoThread:
        def __init__(self, **options) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "Thread", NoThread)
    async with asking(Names(["1.1.1.1"])) as resolver:
        with pytest.raises(NoRoom):
            await resolver.addresses("a.example")
    assert resolver._asking == 0


async def test_names_and_addresses_are_bounded():
    names = Names([f"1.1.1.{number}" for number in range(100)])
    async with asking(names) as resolver:
        for number in range(MAX_NAMES // 64):
            async with asyncio.TaskGroup() as group:
                for each in range(80):
                    group.create_task(expecting_some(resolver, f"{each}.{number}.example"))
        assert len(resolver._known) <= MAX_NAMES


async def expecting_some(resolver: Resolver, host: str) -> None:
    try:
        assert len(await resolver.addresses(host)) == MAX_ADDRESSES
    except httpx.ConnectError:  # too many at once
        return


async def test_the_systems_own_resolver_knows_the_loopback():
    loop = asyncio.get_running_loop()
    resolver = Resolver(timeout=5.0, stale=0.0, clock=loop.time, chance=Random(1))
    with pytest.raises(httpx.ConnectError):
        await resolver.addresses("nowhere.invalid")
    resolver = Resolver(timeout=5.0, stale=9.0, clock=loop.time, chance=Random(1))
    assert set(await resolver.addresses("localhost")) & {"127.0.0.1", "::1"}
    with pytest.raises(httpx.ConnectError):
        await resolver.addresses(LONG)
