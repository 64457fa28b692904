"""
What one process knows: which requests run, which have been answered, and the answers.

`held` is the bytes of answers, those included that are still being copied, and never more than
`max_memory`: for a new one the oldest is dropped, whose repeat is the least likely. What was
dropped is still known to have been answered, so that it is refused and not run again.

Hot: for requests with an idempotency key, once; `grow` once for each message of their answers.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..contract.errors import IdempotencyConflict
from .kept import Kept
from .settings import IdempotencySettings
from .ticket import Ticket


class Running:
    """A request on its way. `done` will be its answer, or None if another may run it now."""

    __slots__ = ("done", "size", "ticket", "waiting")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.size = 0
        self.waiting = 0
        self.done: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True)
class _Answered:
    ticket: Ticket
    until: float


class Table:
    """
    `clock` is in seconds and steady; `dropped` hears of each answer that is dropped or forgotten
    before its time.
    """

    def __init__(
        self,
        settings: IdempotencySettings,
        clock: Callable[[], float],
        dropped: Callable[[Ticket], None],
    ) -> None:
        self.held = 0
        self._settings = settings
        self._clock = clock
        self._dropped = dropped
        self._running: dict[str, Running] = {}
        self._answered: OrderedDict[str, _Answered] = OrderedDict()
        self._answers: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        """Requests that are known, running or answered."""
        return len(self._running) + len(self._answered)

    def find(self, ticket: Ticket) -> Running | Kept | None:
        """
        Raises:
            IdempotencyConflict: it had another body, or its answer is not there any more.
        """
        name = ticket.name
        if (running := self._running.get(name)) is not None:
            check(ticket, running.ticket)
            return running
        self._expire()
        answered = self._answered.get(name)
        if answered is None:
            return None
        check(ticket, answered.ticket)
        if name not in self._answers:
            raise gone()
        return self._answers[name]

    def begin(self, ticket: Ticket) -> Running:
        """It is neither running nor answered, and runs now."""
        running = self._running[ticket.name] = Running(ticket)
        return running

    def grow(self, running: Running, size: int) -> bool:
        """Make room for so many bytes more of its answer; whether there is."""
        if not self._make_room(size):
            return False
        self.held += size
        running.size += size
        return True

    def shrink(self, running: Running) -> None:
        """Its answer is not being copied any more."""
        self.held -= running.size
        running.size = 0

    def free(self, running: Running, found: Kept | None = None) -> None:
        """It is over and nothing is kept; whoever waits gets what was found elsewhere, or runs."""
        self.shrink(running)
        del self._running[running.ticket.name]
        running.done.set_result(found)

    def finish(self, running: Running, answer: Kept | None) -> None:
        """It has been answered, and will not run again; None if the answer can't be kept."""
        self.free(running, answer)
        name = running.ticket.name
        self._answered[name] = _Answered(running.ticket, self._clock() + self._settings.window)
        if answer is not None and self._make_room(answer.size):
            self._answers[name] = answer
            self.held += answer.size
        while len(self._answered) > self._settings.max_entries:
            self._forget_oldest()

    def _make_room(self, size: int) -> bool:
        self._expire()
        while self._answers and self.held + size > self._settings.max_memory:
            name, answer = self._answers.popitem(last=False)
            self.held -= answer.size
            self._dropped(self._answered[name].ticket)
        return self.held + size <= self._settings.max_memory

    def _expire(self) -> None:
        """All are kept for as long, so that the oldest are the first."""
        now = self._clock()
        while self._answered and next(iter(self._answered.values())).until <= now:
            self._take_oldest()

    def _forget_oldest(self) -> None:
        ticket, had_answer = self._take_oldest()
        if had_answer:
            self._dropped(ticket)

    def _take_oldest(self) -> tuple[Ticket, bool]:
        name, answered = self._answered.popitem(last=False)
        answer = self._answers.pop(name, None)
        if answer is not None:
            self.held -= answer.size
        return answered.ticket, answer is not None


def check(ticket: Ticket, first: Ticket) -> None:
    """
    Raises:
        IdempotencyConflict: the two had different bodies.
    """
    if ticket.body != first.body:
        raise reused()


def reused() -> IdempotencyConflict:
    """Of a key that came with another body."""
    return IdempotencyConflict(
        "This Idempotency-Key was used for another request; use a new one.",
        code="idempotency_key_reused",
    )


def gone() -> IdempotencyConflict:
    """Of an answer that was too large to be kept, or is dropped."""
    return IdempotencyConflict(
        "A request with this Idempotency-Key was answered and billed, and its answer is not kept "
        "any more; use a new key to run it again.",
        code="idempotency_answer_gone",
    )
