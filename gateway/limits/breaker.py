"""
Whether the store is worth asking: after a few failures in a row of time it is left alone until a
probe has reached it, so that an outage costs requests no deadline each.
"""

from collections import deque
from collections.abc import Callable

FAILURES = 5
WITHIN = 1.0
"""Seconds in which so many failures open it."""

TOGETHER = 0.01
"""Seconds: calls that shared a round trip fail at once, and are one failure."""


class Breaker:
    """Closed at first. `clock` is in seconds and steady."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.is_open = False
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=FAILURES)

    def failed(self) -> None:
        """The store did not answer."""
        now = self._clock()
        if self._failures and now - self._failures[-1] < TOGETHER:
            return
        self._failures.append(now)
        if len(self._failures) == FAILURES and now - self._failures[0] <= WITHIN:
            self.is_open = True

    def trip(self) -> None:
        """The store was not reached at all."""
        self.is_open = True

    def reached(self) -> None:
        """A probe was answered."""
        self.is_open = False
        self._failures.clear()
