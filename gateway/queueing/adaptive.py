"""
A limit on concurrency that finds itself.

Additive increase, multiplicative decrease, as TCP (Chiu and Jain 1989) and as the AIMD limit of
Netflix's concurrency-limits have it: one more for each limit-full of successes, a tenth less when
the upstream is overloaded. It grows only while all of it is in use, so that quiet hours teach it
nothing. Overload is what the upstream says (429, 503), a time-out, or, as in that library's
gradient limits, a time to the first content that has risen over what it was at its best: an
engine with a queue of its own refuses nobody.

What stays true: the limit lies between its bounds, and shrinks at most once in the time that an
answer takes, so that a burst of refusals counts once.
"""

from dataclasses import dataclass

from ..contract.concurrency import AdaptiveSettings

SHRINK = 0.9
WEIGHT = 0.1
"""Of a new time in their average."""
SETTLED = 10
"""Times after which their average says something."""
SPELL = 300.0
"""Seconds: the least average is that of this spell and the one before."""
AT_LEAST = 0.1
"""Seconds between two shrinkings at least, and 1 s where no time is known."""


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How one request went. `seconds` is the time to its first content, None where it says nothing.
    """

    seconds: float | None
    overloaded: bool
    in_use: bool
    """Whether all slots were taken."""


class AdaptiveLimit:
    """
    One provider's. Instants are seconds of one steady clock. `most` is a further upper bound.
    """

    __slots__ = ("_floor", "_limit", "_shrinks_at", "_top", "_trend")

    def __init__(
        self, settings: AdaptiveSettings, most: int | None, now: float, *, start: int | None = None
    ) -> None:
        self._top = settings.max if most is None else min(settings.max, most)
        self._floor = min(settings.min, self._top)
        self._limit = float(
            min(max(settings.start if start is None else start, self._floor), self._top)
        )
        self._trend = _Trend(settings.tolerance, now)
        self._shrinks_at = now

    @property
    def limit(self) -> int:
        """How many may be in flight."""
        return int(self._limit)

    def ended(self, how: Ended, now: float) -> None:
        """Learn from a request that has ended."""
        overloaded = how.overloaded
        if how.seconds is not None and not overloaded:
            self._trend.add(how.seconds, now)
            overloaded = how.in_use and self._trend.has_risen
        if overloaded:
            self._shrink(now)
        elif how.seconds is not None and how.in_use:
            self._limit = min(self._top, self._limit + 1 / self._limit)

    def _shrink(self, now: float) -> None:
        if now < self._shrinks_at:
            return
        self._shrinks_at = now + self._trend.round_trip
        self._limit = max(self._floor, self._limit * SHRINK)


class _Trend:
    """The average time to the first content, and the least that it has been lately."""

    __slots__ = ("_average", "_before", "_heard", "_least", "_since", "_tolerance")

    def __init__(self, tolerance: float, now: float) -> None:
        self._tolerance = tolerance
        self._average = 0.0
        self._heard = 0
        self._least = self._before = float("inf")
        self._since = now

    @property
    def round_trip(self) -> float:
        return max(self._average, AT_LEAST) if self._heard else 1.0

    @property
    def has_risen(self) -> bool:
        return self._average > self._tolerance * min(self._least, self._before)

    def add(self, seconds: float, now: float) -> None:
        self._heard += 1
        self._average += (seconds - self._average) * max(WEIGHT, 1 / self._heard)
        if now >= self._since + SPELL:
            self._since, self._before, self._least = now, self._least, float("inf")
        if self._heard >= SETTLED:
            self._least = min(self._least, self._average)
