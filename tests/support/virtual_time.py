"""
A loop on which waiting costs nothing: when all tasks wait, its clock jumps to the next timer.

Seconds are exact and deterministic, so tests use the time-outs that users see. For code that
opens no socket and no thread; where nothing could ever happen any more, it fails at once.
"""

import asyncio
import selectors
from typing import Any


class Stuck(Exception):
    """Every task waits for something that no timer will bring."""


class _Jumping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.early = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck
            self.now += max(timeout - self.early, 0.0)
        return ready


class VirtualTime(asyncio.SelectorEventLoop):
    """The loop; `time` is its own."""

    def __init__(self, *_: Any) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def fire_early(self, seconds: float) -> None:
        """From now on timers fire so much too early, as uvloop's may by a millisecond."""
        self._jumping.early = seconds
        self._clock_resolution = 2 * seconds

    def time(self) -> float:
        return self._jumping.now
