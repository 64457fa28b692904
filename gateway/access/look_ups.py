"""
Look-ups of stored keys: one for all who ask for the same key, and few at once.

When many keys have to be read again at the same moment, the database sees four questions at a
time from a process and no key twice; whoever would wait behind too many others is told so.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..contract.errors import StoreUnavailable
from .callers import StoredKey

AT_ONCE = 4

MOST_WAITING = 1_000
"""Look-ups that wait for their turn."""

_log = structlog.get_logger()


class LookUps:
    """
    Asks `load` for keys by their public ids.

    A look-up belongs to nobody who waits for it: it goes on when they leave. Closing ends all.
    """

    def __init__(self, load: Callable[[str], Awaitable[StoredKey | None]]) -> None:
        self._load = load
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[StoredKey | None]] = {}

    async def __call__(self, public_id: str) -> StoredKey | None:
        """
        What `load` says of a key.

        Raises:
            StoreUnavailable: it raised that, or too many are waiting.
        """
        return await asyncio.shield(self._joined(public_id))

    def begin(self, public_id: str) -> None:
        """Look a key up without waiting for it. Nothing is begun where many wait already."""
        if public_id not in self._running and len(self._running) < AT_ONCE:
            self._joined(public_id)

    async def aclose(self) -> None:
        """End those that run."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _joined(self, public_id: str) -> asyncio.Task[StoredKey | None]:
        task = self._running.get(public_id)
        if task is None:
            if len(self._running) >= MOST_WAITING:
                raise StoreUnavailable
            task = asyncio.get_running_loop().create_task(self._in_turn(public_id))
            self._running[public_id] = task
            task.add_done_callback(lambda done: self._ended(public_id, done))
        return task

    async def _in_turn(self, public_id: str) -> StoredKey | None:
        async with self._at_once:
            return await self._load(public_id)

    def _ended(self, public_id: str, task: "asyncio.Task[StoredKey | None]") -> None:
        del self._running[public_id]
        if task.cancelled():
            return
        error = task.exception()  # nobody may have waited for it
        if error is not None and not isinstance(error, StoreUnavailable):
            _log.error("key_look_up_failed", key=public_id, exc_info=error)
