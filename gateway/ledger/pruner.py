"""
Old rows go, a few at a time.

Once a day, in the hour that the configuration names, rows of the days before the retention are
removed in small transactions with pauses between them, so that whoever writes meanwhile hardly
waits. Every process does so; what another one has removed is not there to be removed again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Self

import structlog

from ..contract.errors import StoreUnavailable
from ..store.database import Database
from ..store.ledger import prune
from .settings import LedgerSettings

AT_ONCE = 500
"""Rows in one transaction."""
PAUSE = 0.2
"""Seconds between two of them: what a database has time for beside them is most of it."""
AGAIN = 60.0
"""Seconds after which an outage is asked whether it is over."""

_log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


class Pruner:
    """Opened by `async with`. It does not close `database`. `now` is the wall clock."""

    def __init__(
        self,
        database: Database,
        settings: LedgerSettings,
        *,
        now: Callable[[], datetime] = _now,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.removed = 0
        """Rows removed since the start."""
        self._database = database
        self._settings = settings
        self._now = now
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    async def prune(self) -> int:
        """
        Remove what is too old now; how many rows it were.

        Raises:
            StoreUnavailable: some of it may be left.
        """
        before = self._now().astimezone(UTC).date() - timedelta(days=self._settings.retention)
        removed, last = 0, AT_ONCE
        while last == AT_ONCE:
            async with self._database.writing() as connection:
                last = await prune(connection, before, AT_ONCE)
            removed += last
            self.removed += last
            await self._sleep(PAUSE)
        return removed

    def due_in(self) -> float:
        """Seconds until the next hour for it, at a moment of it that differs by process."""
        now = self._now().astimezone(UTC)
        begin = now.replace(hour=self._settings.prune_hour, minute=0, second=0, microsecond=0)
        if begin <= now:
            begin += timedelta(days=1)
        return (begin - now).total_seconds() + self._random.uniform(0.0, 1800.0)

    async def __aenter__(self) -> Self:
        """Begin to wait for the hour."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End, whatever is left to remove."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._sleep(self.due_in())
            await self._prune_whole()

    async def _prune_whole(self) -> None:
        while True:
            try:
                removed = await self.prune()
            except StoreUnavailable:
                await self._sleep(AGAIN)
            else:
                _log.info("ledger_pruned", rows=removed, retention_days=self._settings.retention)
                return
