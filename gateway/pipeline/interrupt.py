"""
Ends a request from outside, and says why.

A client that hangs up, a shutdown that runs out of patience and a lease that was lost all do
the same thing: they cancel the request's task, once. What they had to say comes out of the
`with` block in place of the cancellation.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class ClientHungUp(Exception):
    """The client closed its connection before the answer was complete."""


class Interrupt:
    """
    Held by the request's own task as a context manager; called by anyone else.

    The first call wins and later ones do nothing. A cancellation that did not come from a call
    passes through unchanged.

    A hang-up may be put off while something goes on that is worth its end; any other call then
    ends that too. What goes on after the end, for its own sake, may be hurried by any other call.
    """

    error: Exception | None = None
    _task: asyncio.Task[object] | None = None
    _uncancelled = 0
    _cancelled = False
    _is_over = False
    _is_urgent = False
    _put_off: Callable[[], None] | None = None
    _hurry: Callable[[], None] | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`loop` is the running one; asking for it costs a system call."""
        self._loop = loop

    def __call__(self, error: Exception) -> None:
        if self._task is None:
            return
        if not isinstance(error, ClientHungUp):
            self._is_urgent = True
            if self._hurry is not None:
                self._hurry()
        if self._is_over or self._cancelled:
            return
        first, self.error = self.error is None, self.error or error
        if isinstance(error, ClientHungUp) and self._put_off is not None:
            if first:
                self._put_off()
            return
        self._cancelled = True
        self._task.cancel()

    def put_off(self, told: Callable[[], None]) -> None:
        """From now on a hang-up ends nothing; `told` hears of it."""
        self._put_off = told

    def catch_up(self) -> None:
        """
        Hang-ups are heeded again, one that was put off now.

        Raises:
            ClientHungUp: one was.
        """
        self._put_off = None
        if self.error is not None and not self._cancelled:
            raise self.error

    @property
    def task(self) -> asyncio.Task[object]:
        """The request's own."""
        assert self._task is not None, "within the block"
        return self._task

    def disarm(self) -> None:
        """From now on calls do nothing: what they would cut short is over."""
        self._is_over = True

    @contextmanager
    def hurries(self, hurry: Callable[[], None]) -> Iterator[None]:
        """While the block runs, calls that are no hang-up do this; at once if there was one."""
        self._hurry = hurry
        if self._is_urgent:
            hurry()
        try:
            yield
        finally:
            self._hurry = None

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task(self._loop)
        assert task is not None, "entered by the request's task"
        self._uncancelled = task.cancelling()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self.error is None or task is None or not self._cancelled:
            return
        only_ours = task.uncancel() <= self._uncancelled
        if only_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self.error from error
