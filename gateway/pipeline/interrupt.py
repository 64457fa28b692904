"""
Ends a request from outside, and says why.

A client that hangs up, a shutdown that runs out of patience and a lease that was lost all do
the same thing: they cancel the request's task, once. What they had to say comes out of the
`with` block in place of the cancellation.
"""

import asyncio
from types import TracebackType
from typing import Self

ON_HANG_UP = "lockgate.on_hang_up"
"""
Where a server that can tell of a hang-up puts, in the state of a request's ASGI scope, a function
that takes what to call then, or None to call nothing any more.
"""


class ClientHungUp(Exception):
    """The client closed its connection before the answer was complete."""


class Interrupt:
    """
    Held by the request's own task as a context manager; called by anyone else.

    The first call wins and later ones do nothing. A cancellation that did not come from a call
    passes through unchanged.
    """

    __slots__ = ("_is_over", "_task", "_uncancelled", "error")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._task: asyncio.Task[object] | None = None
        self._uncancelled = 0
        self._is_over = False

    def __call__(self, error: Exception) -> None:
        if self.error is None and self._task is not None and not self._is_over:
            self.error = error
            self._task.cancel()

    def disarm(self) -> None:
        """From now on calls do nothing: what they would cut short is over."""
        self._is_over = True

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None, "entered by the request's task"
        self._uncancelled = self._task.cancelling()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self.error is None or task is None:
            return
        only_ours = task.uncancel() <= self._uncancelled
        if only_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self.error from error
