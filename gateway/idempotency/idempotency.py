"""
Who runs a request, and who waits for it.

The first to claim a ticket runs it; whoever comes while it runs waits, and gets its answer. If it
comes to nothing, the first of those who waited runs it instead. In one process this is a table;
processes that share a shelf ask it once for all of theirs that wait.

Without the shelf (it is out of reach) each process goes on by its own table: a repeat that comes
to another process is run and billed again then, which is less harm than refusing all of them.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Protocol, Self

from ..contract.errors import AnswerPending, IdempotencyConflict
from .kept import Kept
from .settings import IdempotencySettings
from .table import Running, Table
from .ticket import Ticket

MOST_WAITING = 256
"""Requests of one process that wait for the same answer."""


@dataclass(slots=True)
class Counts:
    """
    What has happened since the start. `replayed` were given an answer that there was, `conflicts`
    a 409; `too_large` and `dropped` answers can be given no more.
    """

    claimed: int = 0
    replayed: int = 0
    conflicts: int = 0
    kept: int = 0
    freed: int = 0
    too_large: int = 0
    dropped: int = 0


class Shelf(Protocol):
    """
    What several processes share. Nothing but `claim` raises, and that only conflicts. `failures`
    counts the times that it was out of reach.
    """

    failures: int

    async def claim(self, ticket: Ticket, owner: str) -> Kept | None:
        """
        The answer, waited for while another process runs it; None if `owner` is to run it.

        Raises:
            IdempotencyConflict: it had another body, or its answer is not there any more.
        """
        ...

    async def keep(self, ticket: Ticket, answer: Kept | None) -> None:
        """It has been answered; None if the answer can't be kept."""
        ...

    async def free(self, ticket: Ticket) -> None:
        """It came to nothing: anyone may run it."""
        ...

    def drop(self, ticket: Ticket) -> None:
        """Its answer takes room that others need."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *raised: object) -> None: ...


class Idempotency:
    """Held by `async with` while requests are answered. `clock` is in seconds and steady."""

    def __init__(
        self,
        settings: IdempotencySettings,
        *,
        shelf: Shelf | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self.table = Table(settings, clock, self._dropped)
        self.max_answer = settings.max_answer
        self.shelf = shelf

    async def claim(self, ticket: Ticket, owner: str, *, within: float) -> "Claim | Kept":
        """
        The right to run it, or its answer, waited for at most `within` seconds.

        `owner` is an id that nobody else has.

        Raises:
            IdempotencyConflict: the key had another body, or its answer is not there any more.
            AnswerPending: it runs still, or too many wait for it.
        """
        try:
            async with asyncio.timeout(within):
                found = await self._claim(ticket, owner)
        except TimeoutError:
            raise AnswerPending from None
        except IdempotencyConflict:
            self.counts.conflicts += 1
            raise
        if isinstance(found, Kept):
            self.counts.replayed += 1
        else:
            self.counts.claimed += 1
        return found

    def events(self) -> dict[str, int]:
        """What has been counted since the start, by name."""
        failures = 0 if self.shelf is None else self.shelf.failures
        return asdict(self.counts) | {"store_failures": failures}

    async def __aenter__(self) -> Self:
        if self.shelf is not None:
            await self.shelf.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self.shelf is not None:
            await self.shelf.__aexit__(*raised)

    async def _claim(self, ticket: Ticket, owner: str) -> "Claim | Kept":
        while True:
            match self.table.find(ticket):
                case Kept() as kept:
                    return kept
                case Running() as running:
                    answer = await _answer_of(running)
                    if answer is not None:
                        return answer
                case None:
                    running = self.table.begin(ticket)
                    shelved = await self._shelved(running, owner)
                    return Claim(self, running) if shelved is None else shelved

    async def _shelved(self, running: Running, owner: str) -> Kept | None:
        """What other processes have come to, while this one's own wait for `running`."""
        if self.shelf is None:
            return None
        try:
            found = await self.shelf.claim(running.ticket, owner)
        except BaseException:
            self.table.free(running)
            raise
        if found is not None:
            self.table.free(running, found)
        return found

    def _dropped(self, ticket: Ticket) -> None:
        self.counts.dropped += 1
        if self.shelf is not None:
            self.shelf.drop(ticket)


class Claim:
    """
    The right to run a request, and the copy of its answer. Leaving the block without `keep` lets
    another run it.
    """

    __slots__ = ("_copy", "_idempotency", "_is_over", "_running")

    def __init__(self, idempotency: Idempotency, running: Running) -> None:
        self._idempotency = idempotency
        self._running = running
        self._copy: bytearray | None = bytearray()
        self._is_over = False

    def add(self, content: bytes) -> None:
        """More of the answer. One that grows too large is given up."""
        if self._copy is None:
            return
        table, size = self._idempotency.table, len(content)
        is_small = len(self._copy) + size <= self._idempotency.max_answer
        if is_small and table.grow(self._running, size):
            self._copy += content
        else:
            self._copy = None
            table.shrink(self._running)

    async def keep(
        self, request_id: str, status: int, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        """All of the answer was added: from now on it is what repeats get."""
        answer = None
        if self._copy is not None:
            answer = Kept(request_id, status, headers, bytes(self._copy))
        self._copy, self._is_over = None, True
        idempotency = self._idempotency
        idempotency.counts.kept += answer is not None
        idempotency.counts.too_large += answer is None
        idempotency.table.finish(self._running, answer)
        if idempotency.shelf is not None:
            await idempotency.shelf.keep(self._running.ticket, answer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_over:
            return
        self._copy, self._is_over = None, True
        idempotency = self._idempotency
        idempotency.counts.freed += 1
        idempotency.table.free(self._running)
        if idempotency.shelf is not None:
            await idempotency.shelf.free(self._running.ticket)


async def _answer_of(running: Running) -> Kept | None:
    if running.waiting >= MOST_WAITING:
        raise AnswerPending
    running.waiting += 1
    try:
        return await asyncio.shield(running.done)
    finally:
        running.waiting -= 1
