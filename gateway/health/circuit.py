"""
What is remembered of one target: how its last requests ended, and until when it is left alone.

Open means that it failed too often and has not been seen to work since, even if its time is over.
A circuit knows nothing of other targets and reads no clock.
"""

from random import Random

from .credential import Credential
from .settings import HealthSettings

JITTER = 0.2
"""The largest part of a pause that is left out at random, so that replicas come back apart."""
FIRST_SHARE = 0.1
"""Of its requests, that a target gets at once after its return."""
_MAX_DOUBLINGS = 64
"""More would overflow a float."""


class Circuit:
    """
    One target. Instants are of the one clock; 0.0 stands for never.

    `outcomes` holds the last `window` results, one bit each, 1 for a failure. `kept` says that it
    is open and may be asked all the same. `ejections` only grows.
    """

    __slots__ = (
        "closed_at",
        "consecutive",
        "cooled_until",
        "credential",
        "ejections",
        "failed_probes",
        "failing_since",
        "kept",
        "name",
        "open_until",
        "openings",
        "outcomes",
        "probe_until",
        "ramp_until",
        "results",
        "wary",
    )

    def __init__(self, name: str, credential: Credential) -> None:
        self.name = name
        self.credential = credential
        self.wary = False  # anything at all to be considered; the fast path reads only this
        self.kept = False
        self.cooled_until = 0.0
        self.open_until = 0.0
        self.probe_until = 0.0
        self.ramp_until = 0.0
        self.closed_at = 0.0
        self.openings = 0
        self.ejections = 0
        self.consecutive = 0
        self.failing_since = 0.0
        self.failed_probes = 0
        self.outcomes = 0
        self.results = 0

    @property
    def is_open(self) -> bool:
        """Opened and not closed by a success since, even if its time is over."""
        return self.open_until > 0.0

    @property
    def is_ejected(self) -> bool:
        """Open, and refused while its time lasts."""
        return self.open_until > 0.0 and not self.kept

    def barred_until(self) -> float:
        """The instant until which nobody may ask, however few other targets are left."""
        return max(self.cooled_until, self.credential.until())

    def until(self) -> float:
        """The instant from which it may be asked like others, or by a probe."""
        return max(self.barred_until(), self.open_until, self.probe_until)

    def cool(self, until: float) -> None:
        """Leave it alone until then: it asked for it."""
        self.cooled_until = max(self.cooled_until, until)
        self.wary = True

    def note(self, settings: HealthSettings, *, failed: bool) -> None:
        """How a request ended."""
        if failed or self.outcomes:
            self.consecutive = self.consecutive + 1 if failed else 0
            full = (1 << settings.window) - 1
            self.outcomes = ((self.outcomes << 1) | failed) & full
        if self.results < settings.window:
            self.results += 1

    def is_too_much(self, settings: HealthSettings) -> bool:
        """Whether so many requests failed that it is to be left alone."""
        if self.consecutive >= settings.consecutive_failures:
            return True
        is_full = self.results >= settings.window
        return is_full and self.outcomes.bit_count() >= settings.failure_rate * settings.window

    def open(self, settings: HealthSettings, now: float, chance: Random, *, kept: bool) -> None:
        """Leave it alone for longer than the last time, unless that is long ago."""
        if not self.is_open:
            self.ejections += 1
            if now - self.closed_at > settings.relapse:
                self.openings = 0
        pause = settings.cool_down * 2.0 ** min(self.openings, _MAX_DOUBLINGS)
        pause = min(pause, settings.max_cool_down) * (1.0 - JITTER * chance.random())
        self.open_until = now + pause
        self.openings += 1
        self.probe_until = self.ramp_until = 0.0
        self.kept = kept
        self.wary = True

    def hold(self, until: float) -> None:
        """Leave it alone until then at least: a probe has just failed."""
        self.open_until = max(self.open_until, until)
        self.wary = True

    def try_now(self, now: float) -> None:
        """Its time is over, should it be open."""
        self.open_until = min(self.open_until, now)

    def close(self, settings: HealthSettings, now: float) -> None:
        """It works again."""
        self.open_until = self.probe_until = 0.0
        self.kept = False
        self.closed_at = now
        self.ramp_until = now + settings.ramp
        self.consecutive = self.failed_probes = self.outcomes = self.results = 0

    def share(self, settings: HealthSettings, now: float) -> float:
        """The part of its requests that it should get: 1 but for a while after its return."""
        if self.ramp_until <= now or not settings.ramp:
            return 1.0
        left = min((self.ramp_until - now) / settings.ramp, 1.0)
        return 1.0 - (1.0 - FIRST_SHARE) * left

    def calm(self, now: float) -> None:
        """Go back to the fast path if nothing is left to be considered."""
        waits = self.until() > now or self.ramp_until > now
        self.wary = waits or self.is_open or self.credential.is_disabled
