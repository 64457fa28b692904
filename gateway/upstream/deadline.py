"""
One moving limit on how long an attempt may take.

Like `asyncio.timeout`, but cheap to move: `until` sets two attributes, and a single timer
that fires too early sets itself again. On expiry the task is cancelled wherever it waits, and the
block ends with `ProviderTimedOut` under the code of the phase it was in. A cancellation from
outside is never swallowed, also where both happen at once.

Hot: `until` once a chunk; no timer is made while the limit only moves away.
"""

import asyncio
from math import inf
from types import TracebackType
from typing import Any, Self

from ..contract.errors import ProviderTimedOut


class Deadline:
    """
    `with Deadline(task) as deadline:` in the task that waits. There is no limit until `until`
    sets one. Instants are those of the task's loop's clock, in seconds.
    """

    _at = inf
    _armed = inf
    _code = ""
    _ended_as: str | None = None
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._loop = task.get_loop()
        self._cancelling = task.cancelling()

    def until(self, at: float, code: str) -> None:
        """From now on the block may last until `at`, else it ends as `code`."""
        self._at = at
        self._code = code
        if at < self._armed:
            self._arm(at)

    def pause(self) -> None:
        """Lift the limit until the next `until`: for the time that a client is slow."""
        self._at = inf

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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = -inf  # nothing arms it again
        if self._ended_as is None:
            return
        # As in asyncio.timeout: if more cancellations are pending than our own, somebody
        # outside wants this task to end, and that goes on as it is.
        ours_alone = self._task.uncancel() <= self._cancelling
        if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise ProviderTimedOut("the upstream took too long", code=self._ended_as) from error

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._armed = inf
        if self._at > self._loop.time():
            if self._at < inf:
                self._arm(self._at)
            return
        self._ended_as = self._code
        self._armed = -inf
        self._task.cancel()
