"""
The rows that wait in this process, and their way into the database.

Whoever has a row puts it here and goes on: nothing is waited for and nothing raised. A task
writes what has come together, twice a second or by the batch. While the database is out of reach
rows wait; once `max_queue` bytes of them do the ledger is full, and no new request may be
admitted until it is not. Requests under way then still put their rows: what may wait beyond the
bound is theirs, one each. No row is dropped.

With a journal a row is in a file a few milliseconds after it was put, however the process ends
(journal.py); without one, rows that wait are lost when it is killed.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from itertools import islice
from random import Random
from typing import Self, SupportsBytes

import structlog

from ..contract.errors import StoreUnavailable
from ..store import usage
from ..store.database import Database
from ..store.ledger_rows import Writable
from .entry import BrokenEntry, Entry, row_of
from .keeper import Keeper
from .settings import LedgerSettings
from .writer import BATCH, Counts, Writer

OVERHEAD = 256
"""Bytes of memory that an entry costs beside its own."""
LAGGING = 5.0
"""Seconds after which a row that still waits is late."""
PATIENCE = 5.0
"""Seconds that who asks for sums waits for rows that were put before."""

_Waiting = tuple[SupportsBytes, int, float]
"""What waits, the bytes that it takes, and since when."""

_log = structlog.get_logger()


class Ledger:
    """
    Opened by `async with`, used from one event loop. It does not close `database`.

    `clock` is in seconds and steady.
    """

    def __init__(
        self,
        database: Database,
        settings: LedgerSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._writer = Writer(database, "process", random=random or Random())  # noqa: S311 - spreads load
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._put = 0
        self._written = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        path = settings.journal
        self._keeper = None if path is None else Keeper(path)
        self._task: asyncio.Task[None] | None = None

    @property
    def counts(self) -> Counts:
        """What became of rows since the start."""
        return self._writer.counts

    @property
    def queued(self) -> int:
        """Rows that wait."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """What they take of `max_queue`."""
        return self._bytes

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited."""
        return self._clock() - self._queue[0][2] if self._queue else 0.0

    @property
    def lagging(self) -> bool:
        """Whether rows wait for longer than they should."""
        return self.oldest > LAGGING

    @property
    def full(self) -> bool:
        """Whether no request may be admitted: its row might have to be dropped."""
        return (
            self._bytes >= self._settings.max_queue
            or (self._keeper is not None and self._keeper.failed)
            or (self._task is not None and self._task.done())
        )

    def put(self, entry: SupportsBytes) -> None:
        """
        Take an `Entry`, or the bytes of one. Never blocks, never raises, whatever the bytes are.
        """
        self._take(entry)
        if self._keeper is not None:
            self._keeper.keep(bytes(entry))

    async def flush(self, within: float) -> None:
        """
        Wait until what was put so far is written.

        Raises:
            StoreUnavailable: it is not, after so many seconds. It remains queued.
        """
        if self._written >= self._put:
            return
        done = asyncio.get_running_loop().create_future()
        self._waiters.append((self._put, done))
        self._enough.set()
        try:
            async with asyncio.timeout(within):
                await done
        except TimeoutError:
            raise StoreUnavailable from None

    async def spent(
        self, tenant: str, scope: str, measure: str, start: date, *, without: str = ""
    ) -> int:
        """
        What rows say has been used of a limit since the beginning of a day, those included that
        were put here and in an earlier process's journal; see `gateway.store.usage.spent`.

        Raises:
            StoreUnavailable: that can not be told at the moment.
        """
        if self._queue and self._writer.is_failing:
            raise StoreUnavailable
        await self.flush(PATIENCE)
        async with self._database.reading() as connection:
            return await usage.spent(connection, tenant, scope, measure, start, without=without)

    async def __aenter__(self) -> Self:
        """
        Begin, with what an earlier process left in the journal.

        Raises:
            StartRefused: the journal is not to be had.
        """
        if self._keeper is not None:
            for entry in await self._keeper.open():
                self._take(entry)
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_tell_of_death)
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Write what waits, for `close_timeout` at most. What then still waits is told."""
        with suppress(StoreUnavailable):  # told below
            await self.flush(self._settings.close_timeout)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        kept = 0
        if self._keeper is not None:
            await self._keeper.aclose(self._settings.close_timeout)
            kept = self._keeper.kept
        if self._queue:
            lost = max(0, self._put - max(kept, self._written))
            _log.error("ledger_rows_left", rows=len(self._queue), lost=lost)

    def _take(self, entry: SupportsBytes) -> None:
        size = (entry.size if type(entry) is Entry else sys.getsizeof(entry)) + OVERHEAD
        self._queue.append((entry, size, self._clock()))
        self._bytes += size
        self._put += 1
        queued = len(self._queue)
        if queued == 1:  # either event stays set until fewer are left
            self._some.set()
        if queued == BATCH:
            self._enough.set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.flush):
                    await self._enough.wait()
            await self._write_batch()

    async def _write_batch(self) -> None:
        batch = list(islice(self._queue, BATCH))
        rows = [row for entry, _, _ in batch if (row := self._row(entry)) is not None]
        while True:
            try:
                await self._writer.write(rows)
                break
            except StoreUnavailable:
                await self._writer.pause()
        self._drop(batch)

    def _row(self, entry: SupportsBytes) -> Writable | None:
        if type(entry) is Entry:
            return entry
        packed = bytes(entry)
        try:
            return row_of(packed)
        except BrokenEntry as broken:
            self._writer.set_aside(packed, str(broken))
            return None

    def _drop(self, written: Sequence[_Waiting]) -> None:
        for _, size, _ in written:
            self._queue.popleft()
            self._bytes -= size
        self._written += len(written)
        if self._keeper is not None:
            self._keeper.forget(self._written)
        if not self._queue:
            self._some.clear()
        if len(self._queue) < BATCH:
            self._enough.clear()
        for number, waiter in self._waiters:
            if number <= self._written and not waiter.done():
                waiter.set_result(None)
        self._waiters = [each for each in self._waiters if not each[1].done()]
        if self._waiters:
            self._enough.set()


def _tell_of_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("ledger_writer_died", exc_info=error)
