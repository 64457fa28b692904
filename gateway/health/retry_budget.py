"""
How many retries a target may be sent, so that retries can't become the outage.

A first attempt is worth a share of a retry, for 5 to 10 s; beside that so many retries a second
are free, saved up for 10 s at most. What stays true, over any run: retries are at most
`retry_share` x first attempts + `retries_per_second` x (seconds + 10), or 1 for a rate so low
that nothing else would ever come of it.

Hot: `sent` once a request; nothing here costs more than a few comparisons, and no timer runs.
"""

from .settings import HealthSettings

LIFETIME = 10.0
"""Seconds after which what was not used is forgotten."""
_HALF = LIFETIME / 2


class RetryBudget:
    """One target's. All instants are of one clock, in seconds that never go back."""

    __slots__ = ("_filled_at", "_free", "_fresh", "_turned_at", "_worn", "refused")

    def __init__(self, settings: HealthSettings, now: float) -> None:
        self.refused = 0
        """Retries that it had nothing left for; only grows."""
        self._fresh = 0.0  # first attempts whose worth is not used yet, of this half
        self._worn = 0.0  # and of the one before
        self._turned_at = now
        self._free = _most(settings)
        self._filled_at = now

    def sent(self, now: float) -> None:
        """A first attempt goes to the target."""
        if now - self._turned_at >= _HALF:
            self._turn(now)
        self._fresh += 1.0

    def take(self, settings: HealthSettings, now: float) -> bool:
        """Take one retry; False if there is none."""
        self._turn(now)
        if self._take_earned(settings.retry_share) or self._take_free(settings, now):
            return True
        self.refused += 1
        return False

    def _turn(self, now: float) -> None:
        passed = now - self._turned_at
        if passed < _HALF:
            return
        self._worn = self._fresh if passed < LIFETIME else 0.0
        self._fresh = 0.0
        self._turned_at = now

    def _take_earned(self, share: float) -> bool:
        if share <= 0.0:
            return False
        price = 1.0 / share  # in first attempts
        if self._worn + self._fresh < price:
            return False
        from_worn = min(self._worn, price)
        self._worn -= from_worn
        self._fresh -= price - from_worn
        return True

    def _take_free(self, settings: HealthSettings, now: float) -> bool:
        rate = settings.retries_per_second
        saved = self._free + (now - self._filled_at) * rate
        self._free = min(saved, _most(settings))
        self._filled_at = now
        if self._free < 1.0:
            return False
        self._free -= 1.0
        return True


def _most(settings: HealthSettings) -> float:
    """Free retries that may be saved up."""
    rate = settings.retries_per_second
    return max(rate * LIFETIME, 1.0) if rate else 0.0
