"""
Counters in this process: a sliding window, a calendar period, places taken at once.

Each answers how much is in use, how long to wait for room, and takes and settles an amount. They
decide exactly as the Lua scripts do; all calls of one admission see the same instant.
"""

from typing import Protocol

from .model import DAY_MS, AtOnce, Calendar, Instant, Limit, Sliding

SOON = 1000
"""Milliseconds until a place may be free: an estimate, for nobody knows."""


class Counter(Protocol):
    """What is in use of one limit."""

    def used(self, now: Instant) -> int:
        """What is settled and reserved."""
        ...

    def wait(self, now: Instant, excess: int) -> int:
        """Milliseconds until at least `excess` of what is in use has left."""
        ...

    def take(self, now: Instant, amount: int) -> int:
        """Reserve, `used` having been asked; the result is where it was charged, for `settle`."""
        ...

    def beside(self, now: Instant, at: int, amount: int) -> int:
        """What others use where `amount` was charged."""
        ...

    def extend(self, now: Instant, at: int, reserved: int, amount: int) -> int:
        """Reserve `amount` in place of what was reserved; where it is charged now."""
        ...

    def settle(self, now: Instant, at: int, reserved: int, used: int) -> None:
        """Turn what was reserved into what was used."""
        ...

    def is_idle(self, now: Instant) -> bool:
        """Whether forgetting this counter would change no answer."""
        ...


class WindowCounter:
    """Amounts by sub-bucket; the buckets from `buckets` ago until now are in use."""

    __slots__ = ("_amounts", "_buckets", "_current", "_sum", "_width")

    def __init__(self, window: Sliding) -> None:
        self._width, self._buckets = window.bucket_ms, window.buckets
        self._amounts: dict[int, int] = {}  # oldest first
        self._sum = 0
        self._current = 0  # the bucket for which all others were looked at

    def used(self, now: Instant) -> int:
        current = now.steady // self._width
        if current != self._current:
            self._move_to(current)
        return self._sum

    def _move_to(self, current: int) -> None:
        amounts, self._current = self._amounts, current
        if amounts and next(reversed(amounts)) > current:  # written by a clock that was given up
            amounts.clear()
            self._sum = 0
        keep = current - self._buckets
        while amounts and (oldest := next(iter(amounts))) < keep:
            self._sum -= amounts.pop(oldest)

    def wait(self, now: Instant, excess: int) -> int:
        width, buckets = self._width, self._buckets
        for bucket, amount in self._amounts.items():
            excess -= amount
            if excess <= 0:
                return (bucket + buckets + 1) * width - now.steady
        return buckets * width  # not reached: an amount never exceeds its limit

    def take(self, now: Instant, amount: int) -> int:
        amounts, current = self._amounts, now.steady // self._width
        amounts[current] = amounts.get(current, 0) + amount
        self._sum += amount
        return current

    def beside(self, now: Instant, at: int, amount: int) -> int:
        return self.used(now) - min(amount, self._amounts.get(at, 0))

    def extend(self, now: Instant, at: int, reserved: int, amount: int) -> int:
        self._give_back(at, reserved)
        return self.take(now, amount)  # as late as can be, so no window that holds it misses it

    def settle(self, now: Instant, at: int, reserved: int, used: int) -> None:
        if used > reserved:
            self.used(now)
            self.take(now, used - reserved)
        elif used < reserved:
            self._give_back(at, reserved - used)

    def _give_back(self, at: int, amount: int) -> None:
        held = self._amounts.get(at, 0)  # 0: it has left the window
        if held:
            back = min(held, amount)
            self._amounts[at] -= back
            self._sum -= back

    def is_idle(self, now: Instant) -> bool:
        return self.used(now) == 0


class PeriodCounter:
    """
    What is settled and what is reserved, by period: the current one and the one before.

    A period of which nothing is known is fresh. Its counter may have missed a part of it, unless
    it began under our eyes: then `seed` tells what had been settled.
    """

    __slots__ = ("_calendar", "_day", "_ends", "_guessed", "_number", "_reserved", "_settled")

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._settled: dict[int, int] = {}
        self._reserved: dict[int, int] = {}
        self._guessed: set[int] = set()
        self._day = self._number = self._ends = -1  # of the period that was looked for last

    def is_unseeded(self, now: Instant, began: int) -> bool:
        """Whether a part of the period may have gone uncounted, counting having begun then (ms)."""
        period = self._period(now)
        if period in self._settled:
            return period in self._guessed
        return self._calendar.period(began)[0] >= period or period - 1 not in self._settled

    def settled(self, now: Instant) -> int:
        """What was settled under our eyes, as far as the period was not seeded."""
        return self._settled.get(self._period(now), 0)

    def seed(self, now: Instant, settled: int) -> None:
        """What the ledger says of the period: all that was settled."""
        period = self._period(now)
        self._begin(period)
        self._settled[period] = settled
        self._guessed.discard(period)

    def guess(self, now: Instant) -> None:
        """Nobody can tell what was settled in this period: go on without, until somebody can."""
        period = self._period(now)
        self._begin(period)
        self._guessed.add(period)

    def used(self, now: Instant) -> int:
        period = self._period(now)
        return self._settled.get(period, 0) + self._reserved.get(period, 0)

    def wait(self, now: Instant, excess: int) -> int:
        self._period(now)
        return self._ends - now.wall

    def take(self, now: Instant, amount: int) -> int:
        period = self._period(now)
        self._begin(period)
        self._reserved[period] += amount
        return period

    def beside(self, now: Instant, at: int, amount: int) -> int:
        return self._settled.get(at, 0) + self._reserved.get(at, 0) - amount

    def extend(self, now: Instant, at: int, reserved: int, amount: int) -> int:
        if at in self._reserved:
            self._reserved[at] += amount - reserved
        return at

    def settle(self, now: Instant, at: int, reserved: int, used: int) -> None:
        if at in self._settled:
            self._reserved[at] -= reserved
            self._settled[at] += used

    def is_idle(self, now: Instant) -> bool:
        self._forget_before(self._period(now) - 1)
        return not self._settled

    def _period(self, now: Instant) -> int:
        day = now.wall // DAY_MS
        if day != self._day:
            self._day = day
            self._number, self._ends = self._calendar.period(now.wall)
        return self._number

    def _begin(self, period: int) -> None:
        if period not in self._settled:
            self._forget_before(period - 1)
            self._settled[period] = self._reserved[period] = 0

    def _forget_before(self, period: int) -> None:
        for old in [known for known in self._settled if known < period]:
            del self._settled[old], self._reserved[old]
            self._guessed.discard(old)


class PlaceCounter:
    """Places taken. Their holders live in this process, so none outlives its holder."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = 0

    def used(self, now: Instant) -> int:
        return self._taken

    def wait(self, now: Instant, excess: int) -> int:
        return SOON

    def take(self, now: Instant, amount: int) -> int:
        self._taken += amount
        return 0

    def beside(self, now: Instant, at: int, amount: int) -> int:
        return self._taken - amount

    def extend(self, now: Instant, at: int, reserved: int, amount: int) -> int:
        self._taken += amount - reserved
        return at

    def settle(self, now: Instant, at: int, reserved: int, used: int) -> None:
        self._taken -= reserved

    def is_idle(self, now: Instant) -> bool:
        return self._taken == 0


def counter_of(limit: Limit) -> Counter:
    """A fresh counter of the limit's kind."""
    match limit.window:
        case Sliding() as window:
            return WindowCounter(window)
        case Calendar() as calendar:
            return PeriodCounter(calendar)
        case AtOnce():
            return PlaceCounter()
