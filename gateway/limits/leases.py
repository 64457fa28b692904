"""
What keeps the stored reservations true while requests run.

One background task of the process renews its leases, expires those of the dead, repeats what the
store did not answer, and probes a store that is out of reach. A holder whose lease is lost is
told to stop. While the store can not be reached nobody is told: afterwards a lapsed place is
taken again, once, and where it has been given away the holder goes on and the overlap is counted.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import structlog
from redis.exceptions import RedisError

from .breaker import Breaker
from .keys import SHARDS
from .model import Amounts, Reservation
from .scripts import Scripts
from .settings import LimitsSettings

REMEMBERED = 10_000
"""Unanswered calls kept for repetition; the oldest are dropped first."""

REPEATED_AT_ONCE = 512

PROBE = 1.0
"""Seconds that a probe may take."""

LOST, OVERLAPS = 0, 3

_log = structlog.get_logger()


@dataclass(slots=True)
class _Held:
    reservation: Reservation
    renewed: float


class Leases:
    """
    The reservations of this process. `clock` is in seconds and steady.

    Closing ends the task; leases that are still held end by themselves.
    """

    def __init__(
        self,
        scripts: Scripts,
        settings: LimitsSettings,
        *,
        breaker: Breaker,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self._redis = scripts.redis
        self._scripts = scripts
        self._settings = settings
        self._breaker = breaker
        self._counts = scripts.counts
        self._clock = clock
        self._random = random
        self._held: dict[str, _Held] = {}
        self._unanswered: dict[str, tuple[Reservation, str, Amounts, bytes]] = {}
        self._renewed = clock()
        self._in_doubt = False
        self._connections = 0
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reach the store, or note that it is out of reach, and begin."""
        await self._probe()
        self._connections = self._redis.connections
        self._task = asyncio.get_running_loop().create_task(self._tend())

    async def aclose(self) -> None:
        """Repeat once what was not answered, and end."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not self._breaker.is_open:
            await self.repeat()

    def hold(self, reservation: Reservation) -> None:
        """Renew it from now on."""
        self._held[reservation.request_id] = _Held(reservation, self._clock())

    def release(self, reservation: Reservation) -> None:
        """Renew it no longer."""
        self._held.pop(reservation.request_id, None)

    def repeat_later(
        self, reservation: Reservation, mode: str, used: Amounts, entry: bytes = b""
    ) -> None:
        """Settle (S) or cancel (C) once the store answers: it is not known whether it has."""
        if len(self._unanswered) >= REMEMBERED:
            del self._unanswered[next(iter(self._unanswered))]
            self._counts.unsettled += 1
        self._unanswered[reservation.request_id] = (reservation, mode, used, entry)

    def failed(self, error: RedisError) -> None:
        """The store did not answer; after a few times it is left alone."""
        self._counts.store_failures += 1
        was_open = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open and not was_open:
            _log.warning("limits_store_unreachable", error=str(error))

    async def pass_once(self) -> None:
        """Do what is due; an outage ends the pass."""
        if self._breaker.is_open:
            await self._probe()
        if self._breaker.is_open:
            return
        failures = self._counts.store_failures
        await self.repeat()
        if self._clock() - self._renewed >= self._settings.lease / 3:
            await self.renew()
        await self.sweep()
        if self._counts.store_failures > failures:
            await self._probe()  # without traffic nobody else would notice an outage

    async def renew(self) -> None:
        """Extend every lease that is held, and tell the holders of those that are lost."""
        again = self._in_doubt or self._redis.connections != self._connections
        started, connections = self._clock(), self._redis.connections
        held = [each.reservation for each in self._held.values()]
        calls = self._scripts.renewals(held, again=again)
        answers = await asyncio.gather(*(call for _, call in calls), return_exceptions=True)
        in_doubt = False
        for (reservations, _), states in zip(calls, answers, strict=True):
            if isinstance(states, BaseException):
                in_doubt = True
                self._failed(states)
                continue
            for reservation, state in zip(reservations, states, strict=True):
                self._heard(reservation, state, started)
        self._in_doubt = in_doubt
        if not in_doubt:
            self._connections, self._renewed = connections, started

    async def repeat(self) -> None:
        """Send once more what was not answered."""
        due = list(self._unanswered.items())[:REPEATED_AT_ONCE]
        calls = (self._scripts.settle(*call) for _, call in due)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for (request_id, call), answer in zip(due, answers, strict=True):
            if isinstance(answer, BaseException):
                self._failed(answer)
            if not isinstance(answer, RedisError) and self._unanswered.get(request_id) is call:
                del self._unanswered[request_id]

    async def sweep(self) -> None:
        """Expire what the dead have left, so that their places and budgets are free again."""
        shards = range(SHARDS)
        found = await asyncio.gather(
            *(self._scripts.swept(shard) for shard in shards), return_exceptions=True
        )
        calls = []
        for shard, lapsed in zip(shards, found, strict=True):
            if isinstance(lapsed, BaseException):
                self._failed(lapsed)
                continue
            calls += [self._scripts.expire(shard, *each) for each in lapsed]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(answer, BaseException):
                self._failed(answer)
            elif answer == 1:
                self._counts.expired += 1

    def fence_if_late(self, since: float) -> None:
        """The loop stood still since then: what was not renewed within a lease is lost."""
        now, lease = self._clock(), self._settings.lease
        if now - since <= lease:
            return
        for held in [held for held in self._held.values() if now - held.renewed > lease]:
            self._lose(held.reservation)

    async def _tend(self) -> None:
        pause = min(self._settings.sweep, self._settings.lease / 3)
        while True:
            due = self._clock() + pause * self._random.uniform(0.8, 1.2)
            await asyncio.sleep(due - self._clock())
            self.fence_if_late(due)
            await self.pass_once()

    async def _probe(self) -> None:
        try:
            await self._redis.ping(within=PROBE)
        except RedisError as error:
            if not self._breaker.is_open:
                _log.warning("limits_store_unreachable", error=str(error))
            self._breaker.trip()
            self._in_doubt = True
            return
        if self._breaker.is_open:
            _log.info("limits_store_reached")
        self._breaker.reached()

    def _heard(self, reservation: Reservation, state: int, at: float) -> None:
        held = self._held.get(reservation.request_id)
        if held is None:  # settled meanwhile
            return
        held.renewed = at
        if state == LOST:
            self._lose(reservation)
        elif state == OVERLAPS:
            self._counts.overlaps += 1
            self.release(reservation)

    def _lose(self, reservation: Reservation) -> None:
        self.release(reservation)
        self._counts.lost += 1
        reservation.lose()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, RedisError):
            self.failed(error)
        else:  # say, a record that another version has stored: the others must still be renewed
            _log.error("limits_call_failed", error=repr(error))
