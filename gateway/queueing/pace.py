"""
How fast slots become free, told from how long they have been held.

By Little's law the mean time that a slot is held is the area under the number in flight, divided
by how many have ended. Both fade with time, so that the last minute counts most. Requests that
are still in flight count as half done: a provider that has stopped answering is seen to be slow
although nothing ends, and one that was just started is not taken for a fast one.

Hot: `tick` runs when a slot is taken or freed.
"""

from math import exp

MEMORY = 60.0
"""Seconds in which what was seen fades to a third."""


class Pace:
    """The pace of one provider. Instants are seconds of one steady clock."""

    __slots__ = ("_at", "_ended", "_held")

    def __init__(self, now: float) -> None:
        self._at = now
        self._held = 0.0
        self._ended = 0.0

    def tick(self, in_flight: int, now: float) -> None:
        """So many have been in flight since the last tick."""
        passed = now - self._at
        if passed <= 0:
            return
        self._at = now
        fade = exp(-passed / MEMORY)
        self._held = self._held * fade + in_flight * MEMORY * (1 - fade)
        self._ended *= fade

    def ended(self) -> None:
        """One has ended at the last tick."""
        self._ended += 1

    def wait(self, turns: int, in_flight: int, limit: int) -> float:
        """
        Seconds until so many slots have become free, of `limit` that are all in use; 0 where
        nothing is known yet.
        """
        ended = self._ended + in_flight / 2
        return turns * self._held / ended / limit if ended > 0 else 0.0
