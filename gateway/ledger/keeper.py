"""
Entries on their way into the journal: one thread at work at a time, and never the event loop.

What comes while the disk is busy goes with the next write, so that many entries share one sync.
When the disk refuses, because it is full for one, entries wait here and are tried again.
"""

import asyncio
from pathlib import Path

import structlog

from .journal import Journal

PAUSE = 1.0
"""Seconds between two attempts while the disk refuses."""

_log = structlog.get_logger()


class Keeper:
    """Keeps entries by their numbers, from 1 and without gaps; used from one event loop."""

    def __init__(self, path: Path) -> None:
        self.failed = False
        """Whether the disk refuses: what is put meanwhile would not outlive the process."""
        self._path = path
        self._journal = Journal(path)
        self._waiting: list[bytes] = []
        self._last = 0
        self._written = 0
        self._kept = 0
        self._wanted = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def kept(self) -> int:
        """Up to which number entries are in the file, or were."""
        return self._kept

    async def open(self) -> list[bytes]:
        """
        Begin; returns what an earlier process left, which has the first numbers.

        Raises:
            StartRefused: the journal is not to be had.
        """
        left = await asyncio.to_thread(self._journal.open)
        self._last = self._kept = len(left)
        self._task = asyncio.get_running_loop().create_task(self._run())
        return left

    def keep(self, entry: bytes) -> None:
        """Take the entry that has the next number."""
        self._waiting.append(entry)
        self._last += 1
        self._wanted.set()

    def forget(self, number: int) -> None:
        """Entries up to this number are in the database."""
        self._written = number
        self._wanted.set()

    async def aclose(self, within: float) -> None:
        """Keep what waits, for so many seconds at most, and let go of the file."""
        task, self._task = self._task, None
        if task is not None:
            self._closing = True
            self._wanted.set()
            await asyncio.wait([task], timeout=within)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(self._journal.close)

    async def _run(self) -> None:
        while not (self._closing and self._kept == self._last):
            await self._wanted.wait()
            self._wanted.clear()
            if not await self._advance():
                self._wanted.set()
                await asyncio.sleep(PAUSE)
        await self._advance()

    async def _advance(self) -> bool:
        entries, self._waiting = self._waiting, []
        last = self._last
        try:
            if entries:
                await asyncio.to_thread(self._journal.append, entries, last)
                self._kept = last
            await asyncio.to_thread(self._journal.forget, self._written)
        except OSError as error:
            if self._kept < last:
                self._waiting = entries + self._waiting
            if not self.failed:
                _log.error("ledger_journal_failed", path=str(self._path), error=str(error))
            self.failed = True
            return False
        if self.failed:
            _log.info("ledger_journal_back", path=str(self._path))
        self.failed = False
        return True
