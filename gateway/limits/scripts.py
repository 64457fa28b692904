"""
The Lua scripts, one method each: one round trip, shared with whatever runs at the same time.

Every method may raise `redis.exceptions.RedisError`; then the script may or may not have run.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, SupportsBytes

import structlog

from ..redis import Argument, Redis, Script, packed
from .counts import Counts
from .keys import shard_keys, stored_keys
from .layout import Layout
from .model import Amounts, Ask, Limit, Reservation, parts
from .seeds import Seeds
from .settings import LimitsSettings

KEPT = 16_384
"""
Layouts remembered, of about 2 KB; beyond that all are forgotten at once, and each is made anew in
microseconds.
"""

RENEWED_AT_ONCE = 128
SWEPT_AT_ONCE = 64

REFUSED, TAKEN, ENDED, BEHIND, UNSEEDED, STRANGE, QUIET = range(7)
"""What reserve answers; extend and renew answer some of these."""

GONE, DONE, LATE, ALIVE, UNKNOWN = range(5)
UNSETTLED = 6
"""What settle answers; the last means that the ledger must be asked first."""

_log = structlog.get_logger()

Seed = tuple[int, int, int]
"""Index of a limit from 1, the scripts' number of its period, and what the ledger says."""


class Answer(NamedTuple):
    """How it went, when (ms), in which epoch, and what else the script had to say."""

    how: int
    now: int
    epoch: int
    rest: list[Any]


class Ending(NamedTuple):
    """
    How a reservation is to end: S settled, C cancelled because its answer was lost.

    `handed` is when its row was given to the ledger by another way (ms since 1970), 0 if never.
    """

    reservation: Reservation
    mode: str
    used: Amounts
    entry: SupportsBytes | None = None
    handed: int = 0


def redis_time() -> int:
    """No clock of ours: the scripts take Redis's own."""
    return 0


class Scripts:
    """
    The scripts on one Redis.

    `now` is milliseconds since 1970, or 0 for Redis's own clock.
    `seeded` says whether there is a ledger that knows what was used before Redis did. `epochs`
    holds, per shard, which data this process has had to do with.
    """

    def __init__(
        self,
        redis: Redis,
        settings: LimitsSettings,
        *,
        counts: Counts,
        now: Callable[[], int] = redis_time,
        seeded: bool = False,
    ) -> None:
        shared = _text("state")
        self._reserve = _script("reserve", shared)
        self._extend = _script("extend", shared)
        self._settle = _script("settle", shared)
        self._renew = _script("renew", shared)
        self._restore = _script("restore", shared)
        self._refill = _script("refill", shared)
        self._standings = _script("standings", shared)
        self._sweep = _script("sweep", shared)
        self.redis = redis
        self.counts = counts
        self.epochs: dict[int, int] = {}
        self._lease = round(settings.lease * 1000)
        self._backlog = settings.ledger_backlog
        self._grace = round(2000 * settings.sweep)  # each process looks once a sweep, about
        self._now = now
        self._seeded = int(seeded)
        self._layouts: dict[tuple[str, int], Layout] = {}

    def shard(self, reservation: Reservation) -> int:
        """Where it lies."""
        return self._layout(reservation.tenant, reservation.limits).shard

    async def reserve(
        self, reservation: Reservation, ask: Ask, cap: int, seeds: Iterable[Seed] = ()
    ) -> Answer:
        """See reserve.lua for the answers."""
        layout = self._layout(reservation.tenant, reservation.limits)
        request_id = reservation.request_id
        arguments = (
            self._now(),
            self._lease,
            request_id,
            self.epochs.get(layout.shard, 0),
            self._backlog,
            self._seeded,
            cap,
            ask.least,
            reservation.note,
        )
        told = [part for seed in seeds for part in seed]
        values = layout.ending(request_id) + packed(arguments) + layout.asking(ask)
        count = layout.ending_count + len(arguments) + layout.asking_count + len(told)
        if told:
            values += packed(told)
        return self._heard(layout.shard, await self.redis.run_packed(self._reserve, values, count))

    async def extend(
        self, reservation: Reservation, amounts: Amounts, seeds: Iterable[Seed] = ()
    ) -> Answer:
        """See extend.lua for the answers."""
        layout = self._layout(reservation.tenant, reservation.limits)
        arguments: list[Argument] = [
            self._now(),
            self._lease,
            reservation.request_id,
            self._seeded,
        ]
        for limit in reservation.limits:
            arguments += (limit.cost(amounts), limit.amount)
        for seed in seeds:
            arguments += seed
        keys = (*layout.shared, *layout.keys)
        return self._heard(layout.shard, await self.redis.run(self._extend, keys, arguments))

    async def end(self, ending: Ending, seeds: Iterable[Seed] = ()) -> Answer:
        """See settle.lua for the answers."""
        reservation, mode, used, entry, handed = ending
        layout = self._layout(reservation.tenant, reservation.limits)
        arguments: list[Argument] = [self._now(), self._lease, reservation.request_id, mode]
        if mode == "S":
            row = b"" if entry is None else bytes(entry)
            arguments += (row, reservation.epoch, reservation.admitted, handed, self._seeded)
            charged = parts(used)
            arguments += [charged[limit.part] for limit in reservation.limits]
            for seed in seeds:
                arguments += seed
        values = layout.ending(reservation.request_id) + packed(arguments)
        count = layout.ending_count + len(arguments)
        return self._heard(layout.shard, await self.redis.run_packed(self._settle, values, count))

    async def expire(self, shard: int, request_id: str, stored: bytes) -> int:
        """End a reservation whose lease has ended, as it was found."""
        keys = stored_keys(shard, request_id, stored)
        arguments: list[Argument] = [self._now(), self._lease, request_id, "E"]
        return self._heard(shard, await self.redis.run(self._settle, keys, arguments)).how

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> list[int]:
        """Now, and what each limit has in use; see standings.lua for what is below 0."""
        layout = self._layout(tenant, limits)
        keys = (layout.shared[2], *layout.keys)
        arguments = (self._now(), self._seeded, *layout.extents)
        answer: list[int] = await self.redis.run(self._standings, keys, arguments)
        return answer

    def renewals(
        self, reservations: Iterable[Reservation], *, again: bool
    ) -> list[tuple[list[Reservation], Awaitable[Answer]]]:
        """
        Extend leases, many to a call; see renew.lua for the answers.

        `again` takes a place that was lost once more, if there is room.
        """
        groups: dict[tuple[str | int, ...], tuple[Layout, list[Reservation]]] = {}
        for reservation in reservations:
            layout = self._layout(reservation.tenant, reservation.limits)
            key: tuple[str | int, ...] = (layout.shard, *layout.places, *layout.rooms)
            groups.setdefault(key, (layout, []))[1].append(reservation)
        calls: list[tuple[list[Reservation], Awaitable[Answer]]] = []
        for layout, members in groups.values():
            for start in range(0, len(members), RENEWED_AT_ONCE):
                part = members[start : start + RENEWED_AT_ONCE]
                calls.append((part, self._renewed(layout, part, again=again)))
        return calls

    async def restore(self, reservation: Reservation) -> Answer:
        """Put an open reservation back that the store has lost; see restore.lua."""
        layout = self._layout(reservation.tenant, reservation.limits)
        arguments: list[Argument] = [
            self._now(),
            self._lease,
            reservation.request_id,
            reservation.admitted,
            reservation.charged,
            *reservation.so_far(),
            reservation.cap,
            reservation.note,
        ]
        keys = layout.restoring(reservation.request_id)
        first = (len(keys), *keys, *arguments)
        values = packed(first) + layout.asking(Ask(reservation.amounts))
        count = len(first) + layout.asking_count
        return self._heard(layout.shard, await self.redis.run_packed(self._restore, values, count))

    async def refill(self, shard: int, windows: Sequence[tuple[str, Sequence[Argument]]]) -> Answer:
        """Put amounts back into windows that the store has lost: keys and their arguments."""
        _, leases, clock = shard_keys(shard)
        keys = (leases, clock, *(key for key, _ in windows))
        arguments: list[Argument] = [self._now(), self._lease, self._grace]
        for _, of_one in windows:
            arguments += of_one
        return self._heard(shard, await self.redis.run(self._refill, keys, arguments))

    async def swept(self, shard: int) -> tuple[int, list[tuple[str, bytes]]]:
        """A shard's epoch, 0 where there are no data, and reservations whose leases have ended."""
        arguments = (self._now(), SWEPT_AT_ONCE)
        epoch, *lapsed = await self.redis.run(self._sweep, shard_keys(shard), arguments)
        return epoch, found(lapsed)

    async def touch(self, shard: int) -> Answer:
        """Whether a shard's data are still those that this process knows, or STRANGE."""
        arguments = (self._now(), self._lease, 0, self.epochs.get(shard, 0))
        return self._heard(shard, await self.redis.run(self._renew, shard_keys(shard), arguments))

    async def _renewed(
        self, layout: Layout, reservations: Sequence[Reservation], *, again: bool
    ) -> Answer:
        epoch = self.epochs.get(layout.shard, 0)
        arguments: list[Argument] = [self._now(), self._lease, int(again), epoch, *layout.rooms]
        for reservation in reservations:
            tokens, cost = reservation.so_far()
            arguments += (reservation.request_id, f"{tokens},{cost}")
        keys = (*layout.shared, *layout.places)
        return self._heard(layout.shard, await self.redis.run(self._renew, keys, arguments))

    def _heard(self, shard: int, said: list[Any]) -> Answer:
        how, now, reset, epoch, *rest = said
        self.epochs.setdefault(shard, epoch)
        if reset:
            self.counts.clock_resets += 1
            _log.error("limits_clock_reset", effect="windows are void for one length of theirs")
        return Answer(how, now, epoch, rest)

    def _layout(self, tenant: str, limits: tuple[Limit, ...]) -> Layout:
        key = (tenant, id(limits))  # a layout keeps its limits, so theirs alone
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) >= KEPT:
                self._layouts.clear()
            layout = self._layouts[key] = Layout.of(tenant, limits)
        return layout


async def seeds_for(
    reservation: Reservation, answer: Answer, seeds: Seeds, *, without: str = ""
) -> list[Seed]:
    """
    What a script that answered UNSEEDED or UNSETTLED wants to know.

    Raises:
        StoreUnavailable: the ledger is out of reach.
    """
    indices, periods = answer.rest[::2], answer.rest[1::2]
    limits = [reservation.limits[index - 1] for index in indices]
    spent = await seeds.of(
        reservation.tenant, limits, answer.now, epoch=answer.epoch, without=without
    )
    return list(zip(indices, periods, spent, strict=True))


def found(answer: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """Ids and stored reservations, of which a script tells in turn."""
    return [(name.decode(), stored) for name, stored in zip(answer[::2], answer[1::2], strict=True)]


def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")


def _script(name: str, shared: str) -> Script:
    flags, _, body = _text(name).partition("\n")  # `#!lua` must stay the first line
    return Script(f"{flags}\n{shared}{body}")
