"""
What outlives a request: the parts that requests are answered with, and those on their way.

Configuration is one immutable snapshot. A request holds on to the one that it began with, so
that a change never reaches into it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from random import Random

from ..access import Access
from ..contract.errors import LedgerFull
from ..contract.head import Head
from ..contract.provider import Operation
from ..health import Health
from ..limits import Limiter, Plans
from ..quarantine import Quarantine
from ..queueing import Queues
from ..routing import Candidate, Routes
from ..telemetry.context import Contexts
from ..telemetry.record import AttemptRecord, Observer, Record
from ..telemetry.ulid import ulid
from ..upstream import Upstream
from .interrupt import Interrupt
from .reckoning import Tariff

_FIRST_HOP = (b"x-lockgate-hop", b"1")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the configuration file says, ready for use."""

    routes: Routes
    access: Access
    plans: Plans
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class Tools:
    """What requests are answered with, opened and closed by the application."""

    limiter: Limiter
    health: Health
    upstream: Upstream
    quarantine: Quarantine
    contexts: Contexts
    observers: tuple[Observer, ...]
    chance: Random
    """Chooses among targets and makes ids: seeded by the OS, of no use as a secret."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    ledger_is_full: Callable[[], bool]
    """Whether a further request could not be accounted for."""


class Pipeline:
    """Begins requests and keeps count of those on their way."""

    def __init__(self, snapshot: Snapshot, tools: Tools) -> None:
        self.snapshot = snapshot
        self.queues = Queues(clock=tools.clock)
        self.limiter = tools.limiter
        self.health = tools.health
        self.upstream = tools.upstream
        self.quarantine = tools.quarantine
        self.chance = tools.chance
        self.clock = tools.clock
        self._ledger_is_full = tools.ledger_is_full
        self._contexts = tools.contexts
        self._observers = tools.observers
        self._live: dict[Interrupt, Record] = {}

    def record(self, operation: Operation, head: Head, client_request_id: str) -> Record:
        """The record of a new request, with its ids."""
        at = datetime.now(UTC)
        # By position, here and below: names would cost half as much again.
        return Record(
            ulid(int(at.timestamp() * 1000), self.chance.randbytes(16)),
            operation,
            at,
            self.clock(),
            client_request_id,
            self._contexts.trace_of(head),
        )

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one that all requests run on. To ask asyncio each time costs a system call."""
        return asyncio.get_running_loop()

    @property
    def live(self) -> int:
        """Requests that have begun and not ended."""
        return len(self._live)

    def cut(self, error: Exception) -> None:
        """End every request on its way with that error."""
        self.cut_where(lambda _: True, error)

    def cut_where(self, concerns: Callable[[Record], bool], error: Exception) -> None:
        """End every request on its way whose record it concerns, with that error."""
        for interrupt, record in tuple(self._live.items()):
            if concerns(record):
                interrupt(error)

    def began(self, record: Record, interrupt: Interrupt) -> None:
        """Called by a request that is entered."""
        self._live[interrupt] = record
        for observer in self._observers:
            observer.began(record.operation)

    def finished(self, record: Record, interrupt: Interrupt) -> None:
        """Called by a request whose record is complete."""
        self._live.pop(interrupt, None)
        for observer in self._observers:
            observer.finished(record)

    def check_ledger(self) -> None:
        """
        Raises:
            LedgerFull: a further request could not be accounted for.
        """
        if self._ledger_is_full():
            raise LedgerFull

    def attempt_record(self, record: Record, candidate: Candidate) -> AttemptRecord:
        """Begin the record of one more attempt."""
        attempt = AttemptRecord(
            candidate.name,
            candidate.provider.name,
            candidate.kind,
            candidate.target.model,
            self.clock(),
        )
        record.attempts.append(attempt)
        return attempt

    def attempt_headers(
        self, record: Record, attempt: AttemptRecord
    ) -> tuple[tuple[bytes, bytes], ...]:
        """
        What an attempt carries beside its provider's headers: ids, to be found again by, and how
        many gateways it has come through.
        """
        number, hops = len(record.attempts), record.hops
        suffix = "-1" if number == 1 else f"-{number}"
        own = (
            (b"x-request-id", (record.request_id + suffix).encode()),
            (b"x-lockgate-hop", b"%d" % (hops + 1)) if hops else _FIRST_HOP,
        )
        if record.trace is None:
            return own
        attempt.span_id, headers = self._contexts.attempt(record.trace)
        return (*own, *headers)
