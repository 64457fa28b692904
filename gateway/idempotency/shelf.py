"""
What several processes know together of requests with an idempotency key, on Redis.

Whoever claims a ticket first holds a lease on it, renewed while its request runs; if the process
dies, the lease ends and another runs the request. Whoever comes meanwhile asks again, ever less
often. An answer is written once, and by nobody whose lease another has taken.

Redis out of reach is no error: the request is run, by the word of this process alone, and what
Redis should have heard it hears as soon as it is back. After a failure nobody waits for it for a
moment. It is told in the log once, and once again when it is back.
"""

import asyncio
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Self

import structlog
from redis.exceptions import OutOfMemoryError, RedisError

from ..redis import Argument, Redis, Script
from .kept import Kept
from .scripts import CLAIM, DROP, FREE, GONE, KEEP, KEPT, MARK, OTHER_BODY, OURS, RUNS
from .settings import IdempotencySettings
from .table import gone, reused
from .ticket import Ticket

SOONEST, LATEST = 0.05, 0.5
"""Seconds between two questions about a request that another process runs."""

QUIET = 1.0
"""Seconds for which a server that did not answer is left alone."""

TAKEN, FULL = 0, -1
"""Answers to what is to be written: it is another's, or the server has no memory for it."""

_log = structlog.stdlib.get_logger("lockgate.idempotency")


@dataclass(slots=True, eq=False)
class _Holding:
    """What the server is to hear of a ticket: that it runs here, or its end."""

    ticket: Ticket
    owner: str
    answer: Kept | None = None
    ends: float | None = None
    """When its answer is kept no longer; None while it runs."""


class RedisShelf:
    """
    Held by `async with`. It does not close `redis`, whose deadline must do for a large answer.

    `prefix` is what all keys of a tenant begin with. `clock` is in seconds and steady.
    """

    def __init__(
        self,
        redis: Redis,
        settings: IdempotencySettings,
        prefix: Callable[[str], str],
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.failures = 0
        self._redis = redis
        self._settings = settings
        self._prefix = prefix
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._holdings: dict[str, _Holding] = {}
        self._is_lost = False
        self._quiet_until = clock()
        self._task: asyncio.Task[None] | None = None

    async def claim(self, ticket: Ticket, owner: str) -> Kept | None:
        """The answer, waited for while another process runs it; None if `owner` is to run it."""
        lease = self._settings.lease
        arguments = (ticket.body, owner, round(lease * 1000))
        pause, lapses = SOONEST, self._clock()
        while True:
            try:
                answer = await self._run(CLAIM, ticket, arguments)
            except asyncio.CancelledError:
                await self._run(FREE, ticket, (ticket.body, owner))  # it may be ours already
                raise
            if answer is not None and answer not in {OURS, RUNS}:
                return _found(answer)
            if answer == RUNS:
                lapses = self._clock() + lease
            elif answer == OURS or self._clock() >= lapses:
                # Or nobody is known to run it, and who might know is out of reach.
                self._holdings[ticket.name] = _Holding(ticket, owner)
                return None
            await asyncio.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(2 * pause, LATEST)

    async def keep(self, ticket: Ticket, answer: Kept | None) -> None:
        """It has been answered; None if the answer can't be kept."""
        if (holding := self._holdings.get(ticket.name)) is not None:
            holding.answer = answer
            holding.ends = self._clock() + self._settings.window
            await self._tell(holding)

    async def free(self, ticket: Ticket) -> None:
        """It came to nothing: anyone may run it."""
        if (holding := self._holdings.pop(ticket.name, None)) is not None:
            await self._run(FREE, ticket, (ticket.body, holding.owner))

    def drop(self, ticket: Ticket) -> None:
        """Its answer takes room that others need."""
        if (holding := self._holdings.get(ticket.name)) is not None:
            holding.answer = None
        if self._clock() >= self._quiet_until:
            dropping = self._redis.run(DROP, [self._key(ticket)], [ticket.body])
            dropping.add_done_callback(_heard)

    async def tend(self) -> None:
        """Renew the leases, and tell again what the server has not heard."""
        await asyncio.gather(*(self._tell(each) for each in tuple(self._holdings.values())))

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._keep_tending())
        return self

    async def __aexit__(self, *raised: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_tending(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            await self.tend()

    async def _tell(self, holding: _Holding) -> None:
        """Say what holds now, and again later unless there is nothing more to say."""
        if self._holdings.get(holding.ticket.name) is not holding:
            return  # over meanwhile
        if holding.ends is None:
            is_over = await self._renew(holding)
        else:
            is_over = await self._end(holding, holding.ends - self._clock())
        if is_over and self._holdings.get(holding.ticket.name) is holding:
            del self._holdings[holding.ticket.name]

    async def _renew(self, holding: _Holding) -> bool:
        """Whether another process has taken the lease: then that one's answer is what counts."""
        entry = RUNS + holding.ticket.body.encode() + holding.owner.encode()
        return await self._put(MARK, holding, entry, self._settings.lease) == TAKEN

    async def _end(self, holding: _Holding, left: float) -> bool:
        """Whether the server knows how it ended, or need not know any more."""
        if left <= 0:
            return True
        body = holding.ticket.body.encode()
        if holding.answer is not None:
            entry = KEPT + body + holding.answer.encode()
            answered = await self._put(KEEP, holding, entry, left)
            if answered != FULL:
                return answered is not None
        return await self._put(MARK, holding, GONE + body, left) is not None

    async def _put(
        self, script: Script, holding: _Holding, entry: bytes, life: float
    ) -> int | None:
        arguments = (holding.ticket.body, holding.owner, entry, max(1, round(life * 1000)))
        answered: int | None = await self._run(script, holding.ticket, arguments)
        return answered

    async def _run(self, script: Script, ticket: Ticket, arguments: Sequence[Argument]) -> Any:
        """The server's answer, None where there is none."""
        if self._clock() < self._quiet_until:
            return None
        try:
            answer = await self._redis.run(script, [self._key(ticket)], arguments)
        except OutOfMemoryError:
            return FULL
        except RedisError as error:
            self._failed(error)
            return None
        if self._is_lost:
            self._is_lost = False
            _log.info("idempotency_store_reached")
        return answer

    def _failed(self, error: RedisError) -> None:
        self.failures += 1
        self._quiet_until = self._clock() + QUIET
        if not self._is_lost:
            self._is_lost = True
            _log.warning("idempotency_store_unreachable", error=str(error))

    def _key(self, ticket: Ticket) -> str:
        return f"{self._prefix(ticket.tenant)}i:{ticket.name}"


def _found(answer: bytes) -> Kept:
    """The answer in what CLAIM said; whatever is not known is an answer of another version's."""
    if answer == OTHER_BODY:
        raise reused()
    if answer[:1] != KEPT:
        raise gone()
    return Kept.decode(answer[1:])


def _heard(answer: "Future[Any]") -> None:
    """Nobody waits for it: what could not be dropped now ends by itself."""
    if not answer.cancelled():
        answer.exception()
