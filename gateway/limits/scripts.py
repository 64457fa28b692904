"""
The Lua scripts, one method each: one round trip, shared with whatever runs at the same time.

Every method may raise `redis.exceptions.RedisError`; then the script may or may not have run.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import structlog

from ..redis import Argument, Redis, Script
from .keys import Layout, shard_keys, stored_keys
from .model import Counts, Limit, Reservation

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
        self._settle = _script("settle", shared)
        self._renew = _script("renew", shared)
        self._sweep = _script("sweep", shared)
        self.redis = redis
        self._lease = lease
        self.counts = counts
        self._now = now
        self._layouts: dict[tuple[str, tuple[Limit, ...]], Layout] = {}

    async def reserve(
        self, request_id: str, tenant: str, limits: tuple[Limit, ...], tokens: int
    ) -> list[int]:
        """1, now, used… | 0, now, index of the limit from 1, wait in ms | 2, now."""
        layout = self._layout(tenant, limits)
        arguments: list[Argument] = [
            self._now(),
            self._lease,
            request_id,
            *layout.arguments(tokens),
        ]
        how, now, reset, *rest = await self.redis.run(
            self._reserve, layout.keys(request_id), arguments
        )
        self._note(reset)
        return [how, now, *rest]

    async def settle(self, reservation: Reservation, mode: str, tokens: int) -> int:
        """Mode S charges `tokens`, mode C nothing at all; see settle.lua for the answer."""
        layout = self._layout(reservation.tenant, reservation.limits)
        used = [limit.cost(tokens) if mode == "S" else 0 for limit in reservation.limits]
        return await self._end(
            layout.keys(reservation.request_id), reservation.request_id, mode, used
        )

    async def expire(self, shard: int, request_id: str, stored: str) -> int:
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

    async def swept(self, shard: int) -> list[tuple[str, str]]:
        """Ids and stored reservations of a shard whose leases have ended."""
        keys = shard_keys(shard)[:2]
        found = await self.redis.run(self._sweep, keys, (self._now(), SWEPT_AT_ONCE))
        text = [item.decode() for item in found]
        return list(zip(text[::2], text[1::2], strict=True))

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
        self, keys: Sequence[str], request_id: str, mode: str, used: Sequence[int]
    ) -> int:
        arguments: list[Argument] = [self._now(), self._lease, request_id, mode, *used]
        how, reset = await self.redis.run(self._settle, keys, arguments)
        self._note(reset)
        return int(how)

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
