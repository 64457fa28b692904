"""How much the gateway may cost, and whether it costs more."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.report import Rounds, ratio

OURS = "lockgate"
"""The gateway with everything on, its limits in process."""
ON_REDIS = "lockgate, Redis"
"""The same with its limits and its ledger on Redis."""


@dataclass(frozen=True)
class Figures:
    """All that was measured, each kind by contender and round."""

    requests: Rounds
    large: Rounds
    chunks: Rounds
    latency: Rounds
    start_seconds: float
    resident_mb: float


@dataclass(frozen=True)
class Bar:
    """At most so much; `value` is None where it could not be told. `goals` are beyond the bar."""

    what: str
    value: float | None
    most: float
    unit: str
    goals: Sequence[str] = ()

    @property
    def is_missed(self) -> bool:
        """Whether it is known to be too much."""
        return self.value is not None and self.value > self.most

    def __str__(self) -> str:
        if self.value is None:
            return f"unknown  {self.what} in {self.unit}: not all of it was measured"
        verdict = "missed" if self.is_missed else "met"
        by = f", {self.value / self.most - 1:+.0%}"
        goals = "".join(f"; {goal}" for goal in self.goals)
        return (
            f"{verdict:<9}{self.what}: {self.value:.2f} {self.unit}, at most {self.most:g}{by}"
            f"{goals}"
        )


def bars(figures: Figures) -> Iterator[Bar]:
    """Every bar there is."""
    yield _beside_rolter("CPU per request", figures.requests, OURS, 1.25, goals=(1.0, 1.0))
    yield _beside_rolter("CPU per request on Redis", figures.requests, ON_REDIS, 1.6, goals=(1.25,))
    yield _beside_rolter("CPU per chunk", figures.chunks, OURS, 1.1, goals=(1.0, 1.0))
    yield _beside_rolter("CPU per chunk on Redis", figures.chunks, ON_REDIS, 1.1)
    yield Bar("32 KB of prompt", _rise(figures), 2.0, "× 230 bytes")
    added = figures.latency[OURS]
    yield Bar("added at 1 connection, median", median(m.median_ms for m in added), 0.4, "ms")
    yield Bar("added at 1 connection, p99", median(m.p99_ms for m in added), 2.0, "ms")
    yield Bar("start to ready", figures.start_seconds, 2.0, "s")
    yield Bar("resident after start", figures.resident_mb, 130.0, "MB")


def _beside_rolter(
    what: str, rounds: Rounds, name: str, most: float, goals: Sequence[float] = ()
) -> Bar:
    if name not in rounds:
        return Bar(what, None, most, "× rolter")
    told = [
        f"goal {goal:g} × {other} {'met' if reached <= goal else 'missed'} ({reached:.2f})"
        for goal, other in zip(goals, ("rolter", "Caddy"), strict=False)
        if (reached := ratio(rounds, name, other)) is not None
    ]
    return Bar(what, ratio(rounds, name, "rolter"), most, "× rolter", told)


def _rise(figures: Figures) -> float | None:
    if OURS not in figures.large:
        return None
    pairs = zip(figures.large[OURS], figures.requests[OURS], strict=True)
    return median(large.micros / small.micros for large, small in pairs)
