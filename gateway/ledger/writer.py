"""
The way of rows into the database, for whoever has some.

A batch is written whole or not at all, and writing it again is safe. Rows that the database
refuses for what they hold are told to the log, whole, and set aside: they never hold up others.
Any other failure is an outage: told once, and waited for longer each time. Where it came while
writing, fewer rows are tried next: a slow database writes a few in time, and of many never one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

import structlog
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from ..contract.errors import StoreUnavailable
from ..store.database import Database
from ..store.ledger import insert
from ..store.ledger_rows import Writable

BATCH = 1000
"""Rows in one transaction at most."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts while the database is out of reach."""

TOLD = 512
"""Characters of a field of the log."""

_UNBOUND = "Error binding parameter"  # SQLite's driver, of a value of a type that it does not know

_log = structlog.get_logger()


@dataclass(slots=True)
class Counts:
    """
    What became of rows since the start. `duplicates` had been written before, `replaced` took the
    place of a provisional row, `broken` were set aside. `failures` are attempts that failed.
    """

    new: int = 0
    replaced: int = 0
    duplicates: int = 0
    broken: int = 0
    failures: int = 0


class Writer:
    """Writes to `database`, which it does not close. `source` is who tells the log."""

    def __init__(
        self,
        database: Database,
        source: str,
        *,
        random: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.counts = Counts()
        self._database = database
        self._source = source
        self._random = random
        self._sleep = sleep
        self._failed = 0
        self._most = BATCH

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._failed > 0

    async def write(self, rows: Sequence[Writable]) -> None:
        """
        Write rows, or set them aside; the latter are counted.

        Raises:
            StoreUnavailable: it is not known of any of them whether it is written.
        """
        most = self._most
        if len(rows) > most:  # in the order of their ids, as `insert` writes a single slice
            rows = sorted(rows, key=lambda row: row.request_id)
        for i in range(0, len(rows), most):
            await self._write(rows[i : i + most])
        # Not sooner: what had been written before is no proof that more would be.
        self._most = min(BATCH, 2 * most)
        if self._failed:
            self._failed = 0
            _log.info("ledger_store_reached", source=self._source)

    def set_aside(self, entry: bytes, why: str) -> None:
        """Leave what is no row to the log."""
        self.counts.broken += 1
        told = entry.decode("utf-8", "backslashreplace")
        parts = [told[i : i + TOLD] for i in range(0, len(told), TOLD)]
        _log.error("ledger_entry_broken", source=self._source, why=why, entry=parts)

    async def pause(self) -> None:
        """Wait after a failure, longer each time, and not as long as the next process."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failed, 10))
        await self._sleep(self._random.uniform(longest / 2, longest))

    async def _write(self, rows: Sequence[Writable]) -> None:
        try:
            await self._write_whole(rows)
        except StoreUnavailable as error:
            self._note_failure(error)
            raise
        except SQLAlchemyError as error:
            if not _is_rows_fault(error):
                self._note_failure(error)
                raise StoreUnavailable from error
            await self._write_others(rows, error)

    async def _write_whole(self, rows: Sequence[Writable]) -> None:
        async with self._database.writing() as connection:
            self._most = max(1, len(rows) // 4)  # unless they are written
            written = await insert(connection, rows)
        self.counts.new += written.new
        self.counts.replaced += written.replaced
        self.counts.duplicates += written.duplicates

    async def _write_others(self, rows: Sequence[Writable], error: SQLAlchemyError) -> None:
        """By halves, until what is refused is alone."""
        if len(rows) == 1:
            self.set_aside(repr(rows[0]).encode(), str(error))
            return
        half = len(rows) // 2
        await self._write(rows[:half])
        await self._write(rows[half:])

    def _note_failure(self, error: Exception) -> None:
        self.counts.failures += 1
        self._failed += 1
        if self._failed == 1:
            why = str(error.__cause__ or error)
            _log.warning("ledger_store_unreachable", source=self._source, error=why)


def _is_rows_fault(error: SQLAlchemyError) -> bool:
    """Whether other rows may fare better. A missing table, for one, is nobody's."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError)  # a value that no column takes
    if isinstance(error, IntegrityError | DataError):
        return True
    if str(error.orig).startswith(_UNBOUND):
        return True
    state = getattr(error.orig, "sqlstate", None)
    # asyncpg itself refuses a value with a ValueError, the server with these states.
    refused = isinstance(getattr(error.orig, "__cause__", None), ValueError)
    return refused or (isinstance(state, str) and state.startswith(("22", "23")))
