"""
What this process has admitted: what is open, and what is still in a window.

Once for each time that the store has lost its data, it is put back. Whoever is told that the data
are others than it knew recovers before it asks again, so that nothing is admitted beside what is
still in its window or still running.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import structlog

from ..redis import Argument
from .mirror import Mirror
from .model import Amounts, Reservation
from .scripts import Answer, Scripts

WINDOWS_AT_ONCE = 64

KNOWN, OVERLAPS = 0, 3
"""What restore answers."""

_log = structlog.get_logger()


class Holdings:
    """The reservations of this process. `open` has those that are to be renewed."""

    def __init__(self, scripts: Scripts) -> None:
        self.open: dict[str, Reservation] = {}
        self._scripts = scripts
        self._mirror = Mirror()
        self._refilled: dict[int, int] = {}
        self._recovering: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def took(self, reservation: Reservation) -> None:
        """It was admitted."""
        self.open[reservation.request_id] = reservation
        self._mirror.took(reservation)

    def extended(self, reservation: Reservation, amounts: Amounts, now: int) -> None:
        """It was charged anew, and for more."""
        self._mirror.moved(reservation, amounts, now)
        reservation.amounts, reservation.charged = amounts, now

    def settled(self, reservation: Reservation, used: Amounts) -> None:
        """It was settled, or is about to be."""
        if self.open.pop(reservation.request_id, None) is not None:  # once
            self._mirror.gave_back(reservation, used)

    def lost(self, reservation: Reservation) -> None:
        """Its lease could not be held: the holder is told."""
        self.open.pop(reservation.request_id, None)
        self._scripts.counts.lost += not reservation.lost
        reservation.lose()

    def overlaps(self, reservation: Reservation) -> None:
        """Its place was given away while the store was out of reach: the holder goes on."""
        self.open.pop(reservation.request_id, None)
        self._scripts.counts.overlaps += 1

    async def recover(self, shard: int, epoch: int) -> None:
        """
        Tell a shard, whose data are of that epoch, all that this process knows of it.

        Raises:
            RedisError: it did not come to an end, and will be begun again.
        """
        async with self._recovering[shard]:  # whoever comes meanwhile waits until it is done
            if self._scripts.epochs.get(shard) == epoch:
                return
            _log.warning("limits_store_lost_its_data", shard=shard)
            if self._refilled.get(shard) != epoch:  # twice, and windows would hold twice as much
                self._refilled[shard] = epoch = await self._refill(shard)
            await self._restore(shard, epoch)
            self._scripts.epochs[shard] = epoch

    async def _refill(self, shard: int) -> int:
        """Put the windows back; the epoch of the data that have them now."""
        windows: list[tuple[str, Sequence[Argument]]] = []
        for key, window, buckets in self._mirror.of(shard):
            amounts = [part for bucket in buckets.items() for part in bucket]
            windows.append((key, (window.bucket_ms, window.buckets, len(buckets), *amounts)))
        answer = await self._scripts.refill(shard, windows[:WINDOWS_AT_ONCE])
        for start in range(WINDOWS_AT_ONCE, len(windows), WINDOWS_AT_ONCE):
            await self._scripts.refill(shard, windows[start : start + WINDOWS_AT_ONCE])
        return answer.epoch

    async def _restore(self, shard: int, epoch: int) -> None:
        lost = [
            each
            for each in self.open.values()
            if each.epoch != epoch and self._scripts.shard(each) == shard
        ]
        answers = await asyncio.gather(*(self._scripts.restore(each) for each in lost))
        for reservation, answer in zip(lost, answers, strict=True):
            self._restored(reservation, answer)

    def _restored(self, reservation: Reservation, answer: Answer) -> None:
        reservation.epoch = answer.epoch
        self._scripts.counts.restored += answer.how != KNOWN
        if answer.how == OVERLAPS:
            self.overlaps(reservation)
