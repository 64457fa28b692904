"""
What is raced for: one tenant for each kind of limit, and what each racer asks of it.

What a request turns out to use follows from its id alone, so that whoever reads the ids knows it,
even where the racer has not lived to tell.
"""

from dataclasses import dataclass
from zlib import crc32

from gateway.limits.model import (
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    Measure,
    Sliding,
    Window,
)

LEASE, SWEEP = 2.0, 0.5
"""Seconds."""

EDGE = 60
"""ms on both sides of a window's edge in which bursts come."""

WINDOW = Sliding(bucket_ms=20, buckets=50)
LONG = Sliding(bucket_ms=80, buckets=50)
"""So long that what racers lose while the machine does other work is little of it."""


@dataclass(frozen=True)
class Event:
    """A tenant that `racers` of each process compete under, and how they do."""

    tenant: str
    limits: tuple[Limit, ...]
    racers: int
    reserved: Amounts = NOTHING
    hold_ms: int = 0
    """A request runs for as long at most."""
    bursts: bool = False

    def used(self, request_id: str) -> Amounts:
        """What the request uses, if it lives to use anything."""
        draw = crc32(request_id.encode())
        tokens, cost = self.reserved
        return Amounts(draw % (tokens + 1), draw % (cost + 1))

    def holds(self, request_id: str) -> float:
        """Seconds that it runs."""
        return crc32(request_id.encode()[::-1]) % (self.hold_ms + 1) / 1000


def _limit(tenant: str, measure: Measure, amount: int, window: Window = WINDOW) -> Limit:
    return Limit(f"tenant:{tenant}", measure, amount, window)


STEADY = Event("steady", (_limit("steady", "requests", 2000, LONG),), racers=24)
EDGES = Event("edges", (_limit("edges", "requests", 100),), racers=16, bursts=True)
TOKENS = Event(
    "tokens",
    (_limit("tokens", "tokens", 2000), _limit("tokens", "requests", 150)),
    racers=12,
    reserved=Amounts(tokens=100),
    hold_ms=30,
)
PLACES = Event("places", (_limit("places", "concurrency", 12, AtOnce()),), racers=6, hold_ms=40)
MONEY = Event(
    "money",
    (
        _limit("money", "money", 123_456_789_123, Calendar("month")),
        _limit("money", "tokens", 100_000_000, Calendar("day")),
        _limit("money", "concurrency", 20, AtOnce()),
    ),
    racers=6,
    reserved=Amounts(tokens=500, cost=1_234_567_891),
    hold_ms=20,
)
EVENTS = {event.tenant: event for event in (STEADY, EDGES, TOKENS, PLACES, MONEY)}


def ask(event: Event) -> Ask:
    """A request of the event."""
    return Ask(fixed=event.reserved)
