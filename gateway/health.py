"""
Which targets are worth trying.

A target that keeps failing is left alone for a while, then tried with one request at a time; one
that says when to come back is left alone until then. Nothing is sent for the purpose: what is
known comes from the requests themselves.

What stays true: a target that is down comes up again by the clock alone, at the latest after
`max_cool_down`, so no report can take one out for good. Only configured targets are remembered;
one that is not known is always up. Each call costs the same however many targets there are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .contract.duration import Duration
from .contract.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    Retry,
)

State = Literal["up", "cooling", "open", "probing"]
"""
`up`: tried freely. `cooling`: told us when to come back, or its credential is no good. `open`:
failed too often. `probing`: its time is over and one request at a time finds out.
"""


class HealthSettings(BaseModel):
    """When a target is left alone, and for how long: seconds, or `500ms`, `10s`, `2m`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    consecutive_failures: int = Field(
        default=5, gt=0, description="So many failures in a row open the circuit."
    )
    failure_rate: float = Field(
        default=0.5, gt=0, le=1, description="So large a share of the last `window` opens it too."
    )
    window: int = Field(default=20, gt=0, le=1000, description="Requests.")
    cool_down: Duration = Field(default=10.0, description="Doubled each time a probe fails.")
    max_cool_down: Duration = Field(default=300.0, description="The longest that it grows to.")
    max_retry_after: Duration = Field(
        default=60.0, description="An upstream's Retry-After is obeyed for so long at most."
    )
    credential_cool_down: Duration = Field(
        default=60.0, description="After an upstream refused the credential."
    )
    quota_cool_down: Duration = Field(
        default=300.0, description="After the operator's account was found empty."
    )
    probe_timeout: Duration = Field(
        default=60.0, description="A probe without a result is forgotten after it."
    )


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """What is known of one target. `retry_in` is seconds until it may be tried, 0 if now."""

    state: State
    retry_in: float
    consecutive_failures: int

    @property
    def up(self) -> bool:
        """Whether it takes requests freely."""
        return self.state == "up"


class _Circuit:
    """
    One target. Instants are of the injected clock; 0.0 stands for never.

    `outcomes` holds the last `window` results, one bit each, 1 for a failure.
    """

    __slots__ = (
        "consecutive",
        "cooled_until",
        "cools",
        "open_until",
        "openings",
        "outcomes",
        "probe_until",
        "results",
    )

    def __init__(self) -> None:
        self.cools = False  # anything at all to be waited for; the fast path reads only this
        self.cooled_until = 0.0
        self.open_until = 0.0
        self.probe_until = 0.0
        self.openings = 0
        self.consecutive = 0
        self.outcomes = 0
        self.results = 0

    @property
    def is_open(self) -> bool:
        """Opened and not closed by a success since, even if its time is over."""
        return self.open_until > 0.0

    def until(self) -> float:
        """The instant from which it may be tried."""
        return max(self.cooled_until, self.open_until, self.probe_until)

    def close(self) -> None:
        self.open_until = self.probe_until = 0.0
        self.openings = self.consecutive = self.outcomes = self.results = 0


class Health:
    """
    Hears how attempts end and says which targets to try.

    `clock` gives seconds that never go back. Not for use from several threads.
    """

    def __init__(
        self, settings: HealthSettings, targets: Iterable[str], *, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._full = (1 << settings.window) - 1
        self._circuits = {name: _Circuit() for name in targets}

    def configure(self, targets: Iterable[str]) -> None:
        """Take over a new configuration: what is known of targets that stay is kept."""
        known = self._circuits
        self._circuits = {name: known.get(name) or _Circuit() for name in targets}

    def is_up(self, name: str) -> bool:
        """Whether the target may be tried now. Changes nothing."""
        circuit = self._circuits.get(name)
        return circuit is None or not circuit.cools or circuit.until() <= self._clock()

    def admits(self, name: str) -> bool:
        """
        Ask to send one request now.

        True for a target that was open makes this request its probe: until `succeeded`, `failed`
        or `released` is called, or `probe_timeout` is over, no other request is admitted.
        """
        circuit = self._circuits.get(name)
        if circuit is None or not circuit.cools:
            return True
        now = self._clock()
        if circuit.until() > now:
            return False
        if circuit.is_open:
            circuit.probe_until = now + self._settings.probe_timeout
        else:
            circuit.cools = False
        return True

    def probes(self, name: str) -> bool:
        """Whether a request that was admitted just now is the target's probe."""
        circuit = self._circuits.get(name)
        return circuit is not None and circuit.is_open

    def succeeded(self, name: str) -> None:
        """The target answered. While it is open, an answer to an earlier request proves nothing."""
        circuit = self._circuits.get(name)
        if circuit is None:
            return
        if circuit.is_open:
            if circuit.open_until <= self._clock():
                circuit.close()
            return
        circuit.consecutive = 0
        self._note(circuit, failure=0)

    def released(self, name: str) -> None:
        """The probe says nothing about the target, or not yet: another may be admitted."""
        circuit = self._circuits.get(name)
        if circuit is not None:
            circuit.probe_until = 0.0

    def failed(self, name: str, error: ProviderError) -> None:
        """The attempt failed. An error that is not the target's fault does it no harm."""
        circuit = self._circuits.get(name)
        if circuit is None:
            return
        if error.harms_health:
            self._blame(circuit, error)
        elif error.retry is Retry.FINAL:
            self.succeeded(name)  # it understood the request well enough to find fault with it
        # Anything else was not sent, so the probe that may be under way is another request's.

    def soonest(self, names: Iterable[str]) -> float:
        """Seconds until the first of `names` may be tried: 0 if one may be, or none is named."""
        now = self._clock()
        waits = [self._wait(circuit, now) for circuit in map(self._circuits.get, names)]
        return min(waits, default=0.0)

    def states(self) -> dict[str, TargetHealth]:
        """What is known of every configured target, for metrics and the health page."""
        now = self._clock()
        return {
            name: TargetHealth(_state(circuit, now), self._wait(circuit, now), circuit.consecutive)
            for name, circuit in self._circuits.items()
        }

    def _blame(self, circuit: _Circuit, error: ProviderError) -> None:
        now = self._clock()
        pause = self._pause(error)
        if pause > 0.0:
            circuit.cooled_until = max(circuit.cooled_until, now + pause)
            circuit.cools = True
        if isinstance(error, ProviderRateLimited) and pause > 0.0:
            circuit.probe_until = 0.0  # it works and said when to come back: no failure
            return
        if circuit.open_until > now:
            return  # an earlier request's end: counting it would lengthen the pause
        circuit.consecutive += 1
        self._note(circuit, failure=1)
        if circuit.is_open or self._is_too_much(circuit):
            self._open(circuit, now)

    def _pause(self, error: ProviderError) -> float:
        """Seconds that this one error asks for by itself, 0 where it takes more than one."""
        if isinstance(error, ProviderQuotaExhausted):
            return self._settings.quota_cool_down
        if isinstance(error, ProviderAuthFailed):
            return self._settings.credential_cool_down
        told = error.retry_after
        # Not `max`: a NaN must count as nothing told.
        return min(told, self._settings.max_retry_after) if told is not None and told > 0 else 0.0

    def _note(self, circuit: _Circuit, *, failure: int) -> None:
        circuit.outcomes = ((circuit.outcomes << 1) | failure) & self._full
        circuit.results = min(circuit.results + 1, self._settings.window)

    def _is_too_much(self, circuit: _Circuit) -> bool:
        settings = self._settings
        if circuit.consecutive >= settings.consecutive_failures:
            return True
        is_full = circuit.results == settings.window
        return is_full and circuit.outcomes.bit_count() >= settings.failure_rate * settings.window

    def _open(self, circuit: _Circuit, now: float) -> None:
        settings = self._settings
        # The exponent is capped as well, for the float's sake.
        pause = settings.cool_down * 2.0 ** min(circuit.openings, 64)
        circuit.open_until = now + min(pause, settings.max_cool_down)
        circuit.openings += 1
        circuit.probe_until = 0.0
        circuit.cools = True

    def _wait(self, circuit: _Circuit | None, now: float) -> float:
        return 0.0 if circuit is None else max(0.0, circuit.until() - now)


def _state(circuit: _Circuit, now: float) -> State:
    if circuit.cooled_until > now:
        return "cooling"
    if circuit.open_until > now:
        return "open"
    return "probing" if circuit.is_open else "up"
