"""
Look-ups of stored keys: one for all who ask for the same key, and few questions at once.

When many keys have to be read at the same moment, the database sees four questions at a time from
a process, of many keys each and no key twice; whoever would wait behind too many others is told
so. Keys that are only to be read again are gathered for a moment first: with thousands of keys in
use a question for each would cost more than their requests do.
"""

import asyncio
from asyncio import Future, Task
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial

import structlog

from ..contract.errors import StoreUnavailable
from .callers import StoredKey

AT_ONCE = 4
"""Questions."""

TOGETHER = 50
"""Keys in one question; what is made of its answer holds up the loop for 2 ms or so."""

GATHERED = 0.2
"""Seconds that keys which are to be read again wait for others."""

MOST_WAITING = 1_000
"""Look-ups that wait for their turn."""

Found = Mapping[str, StoredKey | None]
"""Keys by their public ids; those are missing of which nobody knows anything."""

_log = structlog.get_logger()


class LookUps:
    """
    Asks `load` for keys by their public ids.

    A look-up belongs to nobody who waits for it: it goes on when they leave. Closing ends all.
    """

    def __init__(self, load: Callable[[Sequence[str]], Awaitable[Found]]) -> None:
        self._load = load
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._answers: dict[str, Future[StoredKey | None]] = {}
        self._waiting: list[str] = []
        """Of the answers, those that nobody has asked for yet."""
        self._again: dict[str, None] = {}
        """What is to be read again, in the order in which it was told."""
        self._gathering: Task[None] | None = None
        self._tasks: set[Task[None]] = set()

    async def __call__(self, public_id: str) -> StoredKey | None:
        """
        What `load` says of a key.

        Raises:
            StoreUnavailable: it raised that, or too many are waiting.
        """
        answer = self._answers.get(public_id)
        if answer is None:
            if len(self._answers) >= MOST_WAITING:
                raise StoreUnavailable
            self._again.pop(public_id, None)
            answer = self._awaited(public_id)
            self._waiting.append(public_id)
            self._begin(self._next())
        return await asyncio.shield(answer)

    def begin(self, public_id: str) -> None:
        """Look a key up soon, without waiting for it. Nothing is begun where many are already."""
        if public_id not in self._answers and len(self._again) < MOST_WAITING:
            self._again[public_id] = None
            if self._gathering is None:
                self._gathering = self._begin(self._read_again())

    async def aclose(self) -> None:
        """End those that run."""
        while tasks := list(self._tasks):  # one that ends now may begin others
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for answer in self._answers.values():
            answer.cancel()

    def _awaited(self, public_id: str) -> Future[StoredKey | None]:
        answer: Future[StoredKey | None] = asyncio.get_running_loop().create_future()
        self._answers[public_id] = answer
        return answer

    def _begin(self, work: Coroutine[object, object, None]) -> Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _next(self) -> None:
        """One question, of those who have waited longest: perhaps others have asked it already."""
        async with self._turns:
            portion, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            await self._ask(portion)

    async def _read_again(self) -> None:
        """One question after another, until nothing is to be read again."""
        while self._again:
            if len(self._again) < TOGETHER:
                await asyncio.sleep(GATHERED)
            portion = list(self._again)[:TOGETHER]
            for public_id in portion:
                del self._again[public_id]
                self._awaited(public_id)
            async with self._turns:
                await self._ask(portion)
        self._gathering = None

    async def _ask(self, portion: Sequence[str]) -> None:
        if not portion:
            return
        question = self._begin(self._answer(portion))
        question.add_done_callback(partial(self._ended, portion))
        await asyncio.wait([question])

    async def _answer(self, portion: Sequence[str]) -> None:
        found = await self._load(portion)
        for public_id in portion:
            answer = self._answers.pop(public_id)
            if public_id in found:
                answer.set_result(found[public_id])
            else:
                _fail(answer, StoreUnavailable())

    def _ended(self, portion: Sequence[str], question: Task[None]) -> None:
        error = None if question.cancelled() else question.exception()
        if error is None:
            return
        if len(portion) > 1 and not isinstance(error, StoreUnavailable):
            for public_id in portion:  # it is one of them that makes no sense
                self._begin(self._alone(public_id))
            return
        for public_id in portion:
            _fail(self._answers.pop(public_id), error)
            if not isinstance(error, StoreUnavailable):
                _log.error("key_look_up_failed", key=public_id, exc_info=error)

    async def _alone(self, public_id: str) -> None:
        async with self._turns:
            await self._ask([public_id])


def _fail(answer: Future[StoredKey | None], error: BaseException) -> None:
    answer.set_exception(error)
    answer.exception()  # looked at, since nobody may have waited for it
