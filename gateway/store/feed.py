"""
What has changed, told to whoever keeps a copy of it.

The audit log is the feed: it is numbered in the order of commits, so reading on from the last
number seen misses nothing, through outages and reconnects. Every process reads it twice a second,
which makes a change known everywhere within a second of its commit, with or without Redis.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

import structlog
from sqlalchemy import select

from ..contract.errors import StoreUnavailable
from .database import Database
from .tables import audit, audit_head

BATCH = 1000
"""Rows that are read at a time."""

_log = structlog.get_logger()


class Changed(NamedTuple):
    """An object of which something is different now; it may be gone."""

    kind: str
    object: str
    tenant: str | None


Changes = frozenset[Changed]


class Feed:
    """
    Tells of each change that was committed after the feed was opened.

    Opened while the database is out of reach, it tells of every change that there ever was, once
    it gets there: what a subscriber has read meanwhile may be older than any of them. `every` is
    in seconds. A subscriber is told again, rather than not at all, where it is in doubt.
    """

    def __init__(
        self,
        database: Database,
        *,
        every: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._every = every
        self._clock = clock
        self._subscribers: list[Callable[[Changes], None]] = []
        self._seen = 0
        self._fresh = 0.0
        self._is_lost = False
        self._reading = asyncio.Lock()
        self._is_due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, callback: Callable[[Changes], None]) -> None:
        """
        Have it called with each batch of changes, never an empty one.

        It must not raise: the loop's handler would hear of it, and the batch not come again.
        """
        self._subscribers.append(callback)

    def hasten(self) -> None:
        """Something was committed here: read on now rather than when it is time."""
        self._is_due.set()

    def stale_for(self) -> float:
        """Seconds since everything that was committed was known here, or since the opening."""
        return self._clock() - self._fresh

    async def __aenter__(self) -> Self:
        """Begin behind the last change. What is read from now on is at least as new."""
        self._fresh = self._clock()
        try:
            self._seen = await self._head()
        except StoreUnavailable:
            self._lose()
        self._task = asyncio.get_running_loop().create_task(self._follow())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            [ended] = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Exception):  # not an outage: the feed was wrong
                raise ended

    async def poll(self) -> None:
        """
        Tell of everything that is committed by now.

        Raises:
            StoreUnavailable: the database is out of reach; what is missing comes later.
        """
        async with self._reading:
            asked = self._clock()
            head = await self._head()
            if head < self._seen:  # an older state of the database was restored
                self._seen = 0
            while self._seen < head:
                await self._read(min(head, self._seen + BATCH))
            self._fresh = asked
            self._find()

    async def _head(self) -> int:
        async with self._database.reading() as connection:
            return int((await connection.execute(select(audit_head.c.seq))).scalar_one())

    async def _read(self, until: int) -> None:
        wanted = select(audit.c.kind, audit.c.object, audit.c.tenant).where(
            audit.c.seq > self._seen, audit.c.seq <= until
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        changes = frozenset(Changed._make(row) for row in rows)
        if changes:
            loop = asyncio.get_running_loop()
            for tell in self._subscribers:
                loop.call_soon(tell, changes)  # one that fails stops no other
            await asyncio.sleep(0)  # until they are told
        self._seen = until

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._is_due.wait()
            self._is_due.clear()
            try:
                await self.poll()
            except StoreUnavailable:
                self._lose()

    def _lose(self) -> None:
        if not self._is_lost:
            _log.warning("store_unreachable")
        self._is_lost = True

    def _find(self) -> None:
        if self._is_lost:
            _log.info("store_reachable")
        self._is_lost = False
