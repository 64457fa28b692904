"""
Limits kept in this process.

Admission and settlement are one synchronous step each, so nothing can come between the check
and the taking. Counters that are not in use are dropped: memory is bounded by the callers active
within a window. Hot: `reserve` and `settle` run once a request.
"""

import time
from collections.abc import Callable
from typing import Self

from .counters import Counter, Instant, counter_of
from .model import Counts, Limit, LimitReached, Reservation, Standing, check_fits

AHEAD = 60_000
"""Milliseconds that a clock may step back and be held still; a longer step is believed."""

OFTEN = 1024
"""Admissions between two searches for unused counters, at least."""


def steady_ms() -> int:
    """A clock that no one sets."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class MemoryLimiter:
    """
    A limiter for one process. `clock` and `wall` are milliseconds; neither needs to be steady.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = steady_ms,
        wall: Callable[[], int] = wall_ms,
        counts: Counts | None = None,
    ) -> None:
        self.counts = Counts() if counts is None else counts
        self._clock = clock
        self._wall = wall
        self._last = Instant(0, 0)
        self._counters: dict[tuple[str, str], Counter] = {}
        self._open: dict[str, list[int]] = {}  # where each limit was charged
        self._until_search = OFTEN

    @property
    def reachable(self) -> bool:
        """Always: it is this process."""
        return True

    async def reserve(
        self, request_id: str, tenant: str, limits: tuple[Limit, ...], *, tokens: int
    ) -> Reservation:
        check_fits(limits, tokens, self.counts)
        now = self._now()
        counters = [self._counter(tenant, limit) for limit in limits]
        if request_id not in self._open:
            self._check(now, limits, counters, tokens)
            self._open[request_id] = self._take(now, limits, counters, tokens)
        return Reservation(request_id, tenant, limits, tokens, _standings(now, limits, counters))

    async def settle(self, reservation: Reservation, *, tokens: int) -> None:
        reservation.settled = True
        charged = self._open.pop(reservation.request_id, None)
        if charged is None:
            return
        if tokens > reservation.tokens:
            self.counts.overshoot_tokens += tokens - reservation.tokens
        now = self._now()
        for limit, at in zip(reservation.limits, charged, strict=True):
            counter = self._counter(reservation.tenant, limit)
            counter.settle(now, at, limit.cost(reservation.tokens), limit.cost(tokens))

    async def open(self) -> None:
        """Nothing to begin: no lease can outlive this process."""

    async def aclose(self) -> None:
        """Nothing to end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Nothing to end."""

    def _check(
        self, now: Instant, limits: tuple[Limit, ...], counters: list[Counter], tokens: int
    ) -> None:
        refused, longest = None, -1
        for limit, counter in zip(limits, counters, strict=True):
            excess = counter.used(now) + limit.cost(tokens) - limit.amount
            if excess > 0 and (wait := counter.wait(now, excess)) > longest:
                refused, longest = limit, wait
        if refused is not None:
            self.counts.refused(refused)
            raise LimitReached(refused, longest, _standings(now, limits, counters))

    def _take(
        self, now: Instant, limits: tuple[Limit, ...], counters: list[Counter], tokens: int
    ) -> list[int]:
        self.counts.admitted += 1
        return [
            counter.take(now, limit.cost(tokens))
            for limit, counter in zip(limits, counters, strict=True)
        ]

    def _counter(self, tenant: str, limit: Limit) -> Counter:
        key = (tenant, limit.name)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = counter_of(limit)
        return counter

    def _now(self) -> Instant:
        steady, wall = self._clock(), self._wall()
        last = self._last
        if steady < last.steady or wall < last.wall:
            steady, wall = self._back(steady, wall)
        self._last = now = Instant(steady, wall)
        self._until_search -= 1
        if self._until_search <= 0:
            self._forget_idle(now)
        return now

    def _back(self, steady: int, wall: int) -> tuple[int, int]:
        """A clock ran backwards: what counts as now."""
        last = self._last
        if last.steady > steady + AHEAD or last.wall > wall + AHEAD:
            self.counts.clock_resets += 1
        return _held(steady, last.steady), _held(wall, last.wall)

    def _forget_idle(self, now: Instant) -> None:
        idle = [key for key, counter in self._counters.items() if counter.is_idle(now)]
        for key in idle:
            del self._counters[key]
        self._until_search = max(OFTEN, len(self._counters))


def _held(now: int, last: int) -> int:
    """The clock that never runs backwards, unless it had run far ahead."""
    return now if last > now + AHEAD else max(now, last)


def _standings(
    now: Instant, limits: tuple[Limit, ...], counters: list[Counter]
) -> tuple[Standing, ...]:
    return tuple(
        Standing(limit, max(0, limit.amount - counter.used(now)), counter.resets_in(now) / 1000)
        for limit, counter in zip(limits, counters, strict=True)
    )
