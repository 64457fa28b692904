"""
The rows that wait in Redis, and their way into the database.

Settling a reservation adds its row to a stream in the same script, so the counters and the ledger
can not disagree, only lag. Every process moves rows: it reads those that nobody has read, writes
them, and only then takes them out. What a process read and did not take out, because it died, is
read again by another after `CLAIM_AFTER`; the database keeps one row of each request. While the
database is out of reach rows wait in Redis; once there are `max_stream` of them the mover is full,
and no new request may be admitted until it is not.

So the row of an admitted request is in the database `move` after it was settled, or
`lease + sweep + move` after its gateway died: within 17 s by default, as long as the database can
be reached and keeps up. If the process that moves a row dies with it in hand, it takes
`CLAIM_AFTER + CLAIM_EVERY + move` more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Self

import structlog
from redis.exceptions import RedisError

from ..contract.errors import StoreUnavailable
from ..store.database import Database
from ..store.ledger_rows import Row
from .entry import BrokenEntry, provisional_of, row_of
from .settings import LedgerSettings
from .streams import READ_AT_ONCE, Entry, Streams, is_new
from .writer import Counts, Writer

CLAIM_AFTER = 10.0
"""Seconds after which what somebody read and did not take out is read again."""
CLAIM_EVERY = 2.0
"""Seconds between two looks for that."""

_log = structlog.get_logger()


class Mover:
    """
    Opened by `async with`. It closes neither `streams` nor `database`.

    `clock` is in seconds and steady; `claim_after` in seconds.
    """

    def __init__(
        self,
        streams: Streams,
        database: Database,
        settings: LedgerSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        claim_after: float = CLAIM_AFTER,
    ) -> None:
        self._streams = streams
        self._settings = settings
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._writer = Writer(database, "redis", random=self._random)
        self._claim_after = claim_after
        self._claimed = clock()
        self._failing = False
        self._backlog = 0
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def counts(self) -> Counts:
        """What became of rows since the start."""
        return self._writer.counts

    @property
    def backlog(self) -> int:
        """Rows that waited in Redis when last they were counted."""
        return self._backlog

    @property
    def lagging(self) -> bool:
        """Whether rows wait because the database or Redis is out of reach."""
        return self._failing or self._writer.is_failing

    @property
    def full(self) -> bool:
        """Whether no request may be admitted: Redis holds as many rows as it may."""
        died = self._task is not None and self._task.done()
        return died or self._backlog >= self._settings.max_stream

    async def __aenter__(self) -> Self:
        """Begin; nothing has to be within reach."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_tell_of_death)
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Move what is there, for `close_timeout` at most. What then still waits is another's."""
        task, self._task = self._task, None
        if task is None:
            return
        self._closing.set()
        await asyncio.wait([task], timeout=self._settings.close_timeout)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        closing = False
        while not closing:
            await self._rest()
            closing = self._closing.is_set()  # then once more
            while await self._pass():
                pass

    async def _rest(self) -> None:
        longest = self._settings.move
        # Not in step with other processes: a row then waits for less than one of them would let it.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._random.uniform(longest / 2, longest)):
                await self._closing.wait()

    async def _pass(self) -> bool:
        """Move what there is, once; whether there may be more."""
        try:
            moved = await self._move()
        except RedisError as error:
            if is_new(error):
                return await self._make()
            self._note_failure(error)
            return False
        if self._failing:
            self._failing = False
            _log.info("ledger_streams_reached")
        self._backlog = moved
        return moved >= READ_AT_ONCE

    async def _move(self) -> int:
        entries = await self._streams.unread()
        now = self._clock()
        if now - self._claimed >= min(CLAIM_EVERY, self._claim_after):
            self._claimed = now
            entries += await self._streams.abandoned(self._claim_after)
        if entries:
            await self._write(entries)
            await self._streams.take_out(entries)
        return len(entries)

    async def _make(self) -> bool:
        """Whether the streams, which were new, are there now."""
        try:
            await self._streams.make()
        except RedisError as error:
            self._note_failure(error)
            return False
        return True

    async def _write(self, entries: Sequence[Entry]) -> None:
        """Until it is done: what others read meanwhile they write."""
        rows = [row for entry in entries if (row := self._row(entry)) is not None]
        while rows:
            try:
                await self._writer.write(rows)
            except StoreUnavailable:
                with suppress(RedisError):  # told by the next pass, if it lasts
                    self._backlog = await self._streams.count()
                await self._writer.pause()
            else:
                return

    def _row(self, entry: Entry) -> Row | None:
        try:
            match entry.fields:
                case {b"how": b"S", b"row": row}:
                    return row_of(row)
                case {b"how": b"E", b"row": note, b"tokens": tokens, b"cost": cost}:
                    return provisional_of(note, int(tokens), int(cost))
                case _:
                    raise BrokenEntry("fields are missing")
        except ValueError as error:  # a BrokenEntry, or a number that is none
            self._writer.set_aside(repr(entry.fields).encode(), str(error))
            return None

    def _note_failure(self, error: RedisError) -> None:
        if not self._failing:
            _log.warning("ledger_streams_unreachable", error=str(error))
        self._failing = True


def _tell_of_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("ledger_mover_died", exc_info=error)
