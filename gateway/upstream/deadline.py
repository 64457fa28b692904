"""
One moving limit on how long an attempt may take.

Like `asyncio.timeout`, but cheap to make and to move: one timer, set for the earliest limit, serves
all deadlines of a loop, and one that fires too early sets itself again. On expiry the task is
cancelled wherever it waits, and the block ends with `ProviderTimedOut` under the code of the phase
it was in. A cancellation from outside is never swallowed, also where both happen at once.

Hot: `until` once a chunk; no timer is made while limits only move away.
"""

import asyncio
from math import inf
from types import TracebackType
from typing import Any, Self

from ..contract.errors import ProviderTimedOut

GRAIN = 0.005
"""Seconds that one limit may be late, so that many of them cost one look at those that are left."""


class Watch:
    """
    Ends the deadlines of one loop when they are due.

    A look at all that are open each time one was due is cheaper than an order among them: hardly
    any is ever reached.
    """

    __slots__ = ("_timer", "armed_for", "open")

    def __init__(self) -> None:
        self.open: set[Deadline] = set()
        """Those that have a limit."""
        self.armed_for = inf
        """The instant of the next look."""
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Look at that instant."""
        self.close()
        self.armed_for = at
        self._timer = loop.call_at(at, self._look, loop)

    def close(self) -> None:
        """Look no more, until it is armed again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.armed_for = inf

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.close()
        now = loop.time()
        for each in [each for each in self.open if each.at <= now]:
            self.open.discard(each)
            each.expire()
        nearest = min((each.at for each in self.open), default=inf)
        if nearest < inf:
            self.arm(max(nearest, now + GRAIN), loop)


class Deadline:
    """
    `with Deadline(task, watch) as deadline:` in the task that waits. There is no limit until
    `until` sets one. Instants are those of the task's loop's clock, in seconds.
    """

    at = inf
    """When it is due."""
    _code = ""
    _ended_as: str | None = None
    _is_new = True

    def __init__(self, task: asyncio.Task[Any], watch: Watch) -> None:
        self._task = task
        self._watch = watch
        self._cancelling = task.cancelling()

    def until(self, at: float, code: str) -> None:
        """From now on the block may last until `at`, else it ends as `code`."""
        self.at = at
        self._code = code
        if self._is_new:
            self._is_new = False
            self._watch.open.add(self)
        if at < self._watch.armed_for:
            self._watch.arm(at, self._task.get_loop())

    def pause(self) -> None:
        """Lift the limit until the next `until`: for the time that a client is slow."""
        self.at = inf

    @property
    def expired(self) -> bool:
        """Whether the limit was reached."""
        return self._ended_as is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Raises:
            ProviderTimedOut: the limit ended the block.
        """
        self._is_new = False  # nothing adds it again
        self._watch.open.discard(self)
        if self._ended_as is None:
            return
        # As in asyncio.timeout: if more cancellations are pending than our own, somebody
        # outside wants this task to end, and that goes on as it is.
        ours_alone = self._task.uncancel() <= self._cancelling
        if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise ProviderTimedOut("the upstream took too long", code=self._ended_as) from error

    def expire(self) -> None:
        """The limit is reached. Only a watch says so, and once."""
        self._ended_as = self._code
        self._task.cancel()
