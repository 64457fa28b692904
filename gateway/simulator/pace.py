"""
When the tokens of an answer are due.

Waits follow a schedule that was set when the answer began, so a slow loop makes bursts and not a
slower model.
"""

from collections.abc import Callable, Iterator

from .settings import SimulatorSettings


class Pace:
    """When the tokens of one answer are due, in seconds of the given clock."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        choices: int,
        chances: Iterator[float],
        clock: Callable[[], float],
    ) -> None:
        self._jitter = settings.jitter
        self._chances = chances
        self._clock = clock
        self._first = settings.time_to_first_token
        self._gap = 1 / (settings.tokens_per_second * choices) if settings.tokens_per_second else 0
        self._due = clock()

    @property
    def limited(self) -> bool:
        """Whether tokens have to wait for one another."""
        return self._gap > 0

    def first(self) -> float:
        """Seconds to wait before anything is said."""
        return self._wait(self._first)

    def next(self, tokens: int) -> float:
        """Seconds to wait before so many more tokens are."""
        return self._wait(self._gap * tokens)

    def _wait(self, seconds: float) -> float:
        if self._jitter and seconds:
            seconds *= 1 + self._jitter * (2 * next(self._chances) - 1)
        self._due += seconds
        return self._due - self._clock()
