"""
What keeps the stored reservations true while requests run.

One background task of the process renews its leases, expires those of the dead, repeats what the
store did not answer, and probes a store that is out of reach. A holder whose lease is lost is
told to stop. While the store can not be reached nobody is told: afterwards a lapsed place is
taken again, once, and where it has been given away the holder goes on and the overlap is counted.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from random import Random

import structlog
from redis.exceptions import RedisError

from .contact import Contact
from .holdings import OVERLAPS, Holdings
from .keys import SHARDS
from .model import Reservation
from .scripts import DONE, STRANGE, SWEPT_AT_ONCE, Answer, Scripts
from .settings import LimitsSettings
from .unfinished import Unfinished

LOST = 0

ROUNDS = 16
"""Times at most that a shard is swept in one pass, while it is full of what the dead have left."""

_log = structlog.get_logger()


class Leases:
    """
    The leases of this process.

    Closing ends the task; leases that are still held end by themselves.
    """

    def __init__(
        self,
        scripts: Scripts,
        contact: Contact,
        holdings: Holdings,
        unfinished: Unfinished,
        settings: LimitsSettings,
        random: Random,
    ) -> None:
        self._scripts = scripts
        self._contact = contact
        self._holdings = holdings
        self._unfinished = unfinished
        self._settings = settings
        self._random = random
        self._clock = contact.clock
        self._renewed = self._clock()
        self._connections = 0
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reach the store, or note that it is out of reach, and begin."""
        await self._contact.probe()
        if not self._contact.is_open:
            await self._contact.eviction.look()
        self._connections = self._scripts.redis.connections
        self._task = asyncio.get_running_loop().create_task(self._tend())
        self._task.add_done_callback(_tell_of_death)

    async def aclose(self) -> None:
        """Repeat what was not answered, as long as that gets on, and end."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        left = len(self._unfinished.waiting) + 1
        while not self._contact.is_open and 0 < len(self._unfinished.waiting) < left:
            left = len(self._unfinished.waiting)
            await self._unfinished.repeat()

    async def pass_once(self) -> None:
        """Do what is due; an outage ends the pass."""
        if self._contact.is_open:
            await self._contact.probe()
        if self._contact.is_open:
            return
        failures = self._contact.failures
        with suppress(TimeoutError):  # it may be the ledger that keeps it waiting
            async with asyncio.timeout(self._settings.lease / 3):
                await self._unfinished.repeat()
        if self._clock() - self._renewed >= self._settings.lease / 3:
            await self.renew()
        await self.sweep()
        await self._contact.eviction.look()
        if self._contact.failures > failures:
            await self._contact.probe()  # without traffic nobody else would notice an outage

    async def renew(self) -> None:
        """Extend every lease that is held, and tell the holders of those that are lost."""
        redis = self._scripts.redis
        again = self._contact.in_doubt or redis.connections != self._connections
        started, connections = self._clock(), redis.connections
        calls = self._scripts.renewals(self._holdings.open.values(), again=again)
        answers = await asyncio.gather(*(call for _, call in calls), return_exceptions=True)
        in_doubt = False
        strange: dict[int, int] = {}
        for (reservations, _), answer in zip(calls, answers, strict=True):
            if isinstance(answer, BaseException):
                in_doubt = True
                self._contact.failed(answer)
            elif answer.how == STRANGE:
                strange[self._scripts.shard(reservations[0])] = answer.epoch
            else:
                self._heard(reservations, answer, started)
        in_doubt = not await self._recovered(strange) or in_doubt
        self._contact.in_doubt = in_doubt
        if not in_doubt:
            self._connections, self._renewed = connections, started

    async def sweep(self) -> None:
        """
        Expire what the dead have left, so that their places and budgets are free again, and put
        back what the store has lost.
        """
        shards: Sequence[int] = range(SHARDS)
        for _ in range(ROUNDS):
            shards = await self._sweep(shards)
            if not shards:
                return

    async def expire(self, lapsed: Iterable[tuple[int, str, bytes]]) -> None:
        """End reservations whose leases have ended: shard, id and what is stored."""
        calls = [self._scripts.expire(*each) for each in lapsed]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(answer, BaseException):
                self._contact.failed(answer)
            else:
                self._scripts.counts.expired += answer == DONE

    def fence_if_late(self, since: float) -> None:
        """The loop stood still since then: what was not renewed within a lease is lost."""
        now, lease = self._clock(), self._settings.lease
        if now - since <= lease:
            return
        for reservation in list(self._holdings.open.values()):
            if now - reservation.renewed > lease:
                self._holdings.lost(reservation)

    async def _tend(self) -> None:
        pause = min(self._settings.sweep, self._settings.lease / 3)
        while True:
            due = self._clock() + pause * self._random.uniform(0.8, 1.2)
            await asyncio.sleep(due - self._clock())
            self.fence_if_late(due)
            await self.pass_once()

    async def _sweep(self, shards: Sequence[int]) -> list[int]:
        """Sweep once; those shards that may have more."""
        swept = await asyncio.gather(
            *(self._scripts.swept(shard) for shard in shards), return_exceptions=True
        )
        lapsed: list[tuple[int, str, bytes]] = []
        changed, full = [], []
        for shard, each in zip(shards, swept, strict=True):
            if isinstance(each, BaseException):
                self._contact.failed(each)
                continue
            epoch, found = each
            if epoch != self._scripts.epochs.get(shard, epoch):
                changed.append(shard)
            if len(found) == SWEPT_AT_ONCE:
                full.append(shard)
            lapsed += [(shard, *one) for one in found]
        await self._look_again(changed)
        await self.expire(lapsed)
        return full

    async def _look_again(self, shards: Iterable[int]) -> None:
        """Recover those shards that have not been recovered since they were swept."""
        for shard in shards:
            try:
                answer = await self._scripts.touch(shard)
            except RedisError as error:
                self._contact.failed(error)
            else:
                if answer.how == STRANGE:
                    await self._recovered({shard: answer.epoch})

    async def _recovered(self, strange: Mapping[int, int]) -> bool:
        """Whether all shards whose epoch turned out to be another know of ours again."""
        failures = self._contact.failures
        for shard, epoch in strange.items():
            try:
                await self._holdings.recover(shard, epoch)
            except RedisError as error:
                self._contact.failed(error)
        return self._contact.failures == failures

    def _heard(self, reservations: Iterable[Reservation], answer: Answer, at: float) -> None:
        for reservation, state in zip(reservations, answer.rest, strict=True):
            if reservation.request_id not in self._holdings.open:  # settled meanwhile
                continue
            reservation.renewed = at
            if state == LOST:
                self._holdings.lost(reservation)
            elif state == OVERLAPS:
                self._holdings.overlaps(reservation)


def _tell_of_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("limits_tending_ended", exc_info=error)
