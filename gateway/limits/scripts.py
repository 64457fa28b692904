"""
The Lua scripts, one method each: one round trip, shared with whatever runs at the same time.

Every method may raise `redis.exceptions.RedisError`; then the script may or may not have run.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import structlog

from ..redis import Argument, Redis, Script
from .counts import Counts
from .keys import Layout, shard_keys, stored_keys
from .model import Amounts, Ask, Limit, Reservation

KEPT = 4096
"""Layouts remembered; beyond that all are forgotten at once, which costs microseconds."""

RENEWED_AT_ONCE = 128
SWEPT_AT_ONCE = 64

_log = structlog.get_logger()


def redis_time() -> int:
    """No clock of ours: the scripts take Redis's own."""
    return 0


class Scripts:
    """
    Reserve, settle, renew and sweep on one Redis.

    `lease` is in milliseconds; `now` is milliseconds since 1970, or 0 for Redis's own clock.
    """

    def __init__(
        self, redis: Redis, *, lease: int, counts: Counts, now: Callable[[], int] = redis_time
    ) -> None:
        shared = _text("state")
        self._reserve = _script("reserve", shared)
        self._extend = _script("extend", shared)
        self._settle = _script("settle", shared)
        self._standings = _script("standings", shared)
        self._renew = _script("renew", shared)
        self._sweep = _script("sweep", shared)
        self.redis = redis
        self._lease = lease
        self.counts = counts
        self._now = now
        self._layouts: dict[tuple[str, tuple[Limit, ...]], Layout] = {}

    async def reserve(self, reservation: Reservation, ask: Ask, cap: int, note: bytes) -> list[int]:
        """1, now, cap, used… | 0, now, index of the limit from 1, wait in ms, used… | 2, now."""
        layout = self._layout(reservation.tenant, reservation.limits)
        arguments: list[Argument] = [
            self._now(),
            self._lease,
            reservation.request_id,
            cap,
            ask.least,
            note,
            *layout.arguments(ask),
        ]
        keys = layout.reserving(reservation.request_id)
        return await self._run_clocked(self._reserve, keys, arguments)

    async def extend(self, reservation: Reservation, amounts: Amounts) -> list[int]:
        """1, now | 0, now, index of the limit from 1, wait in ms, used… | 2, now: not open."""
        layout = self._layout(reservation.tenant, reservation.limits)
        arguments: list[Argument] = [self._now(), self._lease, reservation.request_id]
        for limit in reservation.limits:
            arguments += (limit.cost(amounts), limit.amount)
        keys = (*layout.shared, *layout.limits)
        return await self._run_clocked(self._extend, keys, arguments)

    async def settle(
        self, reservation: Reservation, mode: str, used: Amounts, entry: bytes = b""
    ) -> int:
        """Mode S charges `used`, mode C nothing at all; see settle.lua for the answer."""
        layout = self._layout(reservation.tenant, reservation.limits)
        keys = layout.settling(reservation.request_id)
        costs = [limit.cost(used) if mode == "S" else 0 for limit in reservation.limits]
        return await self._end(keys, reservation.request_id, mode, (entry, *costs))

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> list[int]:
        """Now, and what each limit has in use."""
        layout = self._layout(tenant, limits)
        keys = (layout.shared[2], *layout.limits)
        answer: list[int] = await self.redis.run(
            self._standings, keys, (self._now(), *layout.extents)
        )
        return answer

    async def expire(self, shard: int, request_id: str, stored: bytes) -> int:
        """End a reservation whose lease has ended, as `swept` found it."""
        return await self._end(stored_keys(shard, request_id, stored), request_id, "E", ())

    def renewals(
        self, reservations: Iterable[Reservation], *, again: bool
    ) -> list[tuple[list[Reservation], Awaitable[list[int]]]]:
        """
        Extend leases, many to a call; see renew.lua for the answers, one a reservation.

        `again` takes a place that was lost once more, if there is room.
        """
        groups: dict[tuple[str, ...], tuple[Layout, list[Reservation]]] = {}
        for reservation in reservations:
            layout = self._layout(reservation.tenant, reservation.limits)
            key = (*layout.shared, *layout.places, *map(str, layout.rooms))
            groups.setdefault(key, (layout, []))[1].append(reservation)
        calls: list[tuple[list[Reservation], Awaitable[list[int]]]] = []
        for layout, members in groups.values():
            for start in range(0, len(members), RENEWED_AT_ONCE):
                part = members[start : start + RENEWED_AT_ONCE]
                calls.append((part, self._renewed(layout, part, again=again)))
        return calls

    async def swept(self, shard: int) -> list[tuple[str, bytes]]:
        """Ids and stored reservations of a shard whose leases have ended."""
        keys = shard_keys(shard)[:2]
        found = await self.redis.run(self._sweep, keys, (self._now(), SWEPT_AT_ONCE))
        ids = (name.decode() for name in found[::2])
        return list(zip(ids, found[1::2], strict=True))

    async def _renewed(
        self, layout: Layout, reservations: Sequence[Reservation], *, again: bool
    ) -> list[int]:
        ids = [reservation.request_id for reservation in reservations]
        arguments: list[Argument] = [self._now(), self._lease, int(again), *layout.rooms, *ids]
        _, leases, clock = layout.shared
        answer = await self.redis.run(self._renew, (leases, clock, *layout.places), arguments)
        states: list[int]
        reset, *states = answer
        self._note(reset)
        return states

    async def _end(
        self, keys: Sequence[str], request_id: str, mode: str, rest: Sequence[Argument]
    ) -> int:
        arguments: list[Argument] = [self._now(), self._lease, request_id, mode, *rest]
        how, reset = await self.redis.run(self._settle, keys, arguments)
        self._note(reset)
        return int(how)

    async def _run_clocked(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> list[int]:
        how, now, reset, *rest = await self.redis.run(script, keys, arguments)
        self._note(reset)
        return [how, now, *rest]

    def _layout(self, tenant: str, limits: tuple[Limit, ...]) -> Layout:
        layout = self._layouts.get((tenant, limits))
        if layout is None:
            if len(self._layouts) >= KEPT:
                self._layouts.clear()
            layout = self._layouts[tenant, limits] = Layout.of(tenant, limits)
        return layout

    def _note(self, reset: int) -> None:
        if reset:
            self.counts.clock_resets += 1
            _log.error("limits_clock_reset", effect="windows are void for one length of theirs")


def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")


def _script(name: str, shared: str) -> Script:
    flags, _, body = _text(name).partition("\n")  # `#!lua` must stay the first line
    return Script(f"{flags}\n{shared}{body}")
