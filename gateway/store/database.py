"""
The door to the database: SQLite in a file, or PostgreSQL.

`reading()` sees one state of the database from its first statement to its last; `writing()` is
one transaction. On SQLite there is one writer at a time, on PostgreSQL rows are locked as they
are written. No wait is longer than the time-out, not even on a server that accepts and never
answers, and no connection is used again after a statement was cut short on it.

An outage is `StoreUnavailable`, wherever it shows: on connecting, in a statement, on commit.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..contract.errors import StoreUnavailable
from .engines import Engines, postgres_engines, read_address, sqlite_engines

T = TypeVar("T")


class Database:
    """
    One database, opened by `async with`; nothing is connected before the first use.

    `timeout` is in seconds and holds for each wait: for a connection, a lock, a statement. SQLite
    does without `foreign_keys` only while tables are rebuilt.

    Raises:
        AddressRefused: the address is none of `sqlite:///path` and `postgresql://…`.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, foreign_keys: bool = True) -> None:
        self._url = read_address(url)
        self._timeout = timeout
        self._foreign_keys = foreign_keys
        self._reachable = True
        self._engines: Engines | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"Database({self._url!r})"  # SQLAlchemy hides the password

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which of the two it is."""
        return "sqlite" if self._url.drivername == "sqlite" else "postgresql"

    @property
    def reachable(self) -> bool:
        """Whether the last use found the database within reach."""
        return self._reachable

    async def __aenter__(self) -> Self:
        """
        Make ready; a SQLite file that does not exist is created, for its owner alone.

        Raises:
            StoreUnavailable: the file can't be created.
        """
        try:
            # In a thread, as it reads a driver from the disk and may make a file.
            self._engines = await asyncio.to_thread(self._make)
        except OSError as error:
            self._lose()
            raise StoreUnavailable from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection. None may be in use."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        engines, self._engines = self._engines, None
        if engines is not None:
            await engines.close()

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        A connection to read on; writing on it fails.

        Raises:
            StoreUnavailable: the database is out of reach, at any point of the block.
        """
        assert self._engines is not None, "not opened"
        return self._transaction(self._engines.readers, self._engines.begin_reading)

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        A connection in a transaction, which is committed where the block ends without an error.

        Raises:
            StoreUnavailable: the database is out of reach, at any point of the block. Nothing was
                changed, unless it was the commit that failed: then nobody knows.
        """
        assert self._engines is not None, "not opened"
        return self._transaction(self._engines.writers, self._engines.begin_writing)

    async def ping(self) -> None:
        """
        Reach the database.

        Raises:
            StoreUnavailable: it was not reached within the time-out.
        """
        async with self.reading() as connection:
            await connection.exec_driver_sql("SELECT 1")

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine, first: str) -> AsyncIterator[AsyncConnection]:
        connection = await self._connect(engine, first)
        is_sound = True
        try:
            yield connection
            await connection.commit()
        except asyncio.CancelledError:
            is_sound = False  # a statement of it may still run
            raise
        finally:
            await asyncio.shield(self._start(_give_back(connection, is_sound=is_sound)))

    async def _connect(self, engine: AsyncEngine, first: str) -> AsyncConnection:
        """
        A connection on which the first statement has succeeded.

        A cancellation here would leave a driver in disorder, so there is none: whoever gives up
        leaves a task behind, which gives back what it gets.
        """
        task = self._start(self._begin(engine, first))
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(task)
        except TimeoutError as error:
            task.add_done_callback(self._return)
            self._lose()
            raise StoreUnavailable from error
        except asyncio.CancelledError:
            task.add_done_callback(self._return)
            raise

    async def _begin(self, engine: AsyncEngine, first: str) -> AsyncConnection:
        try:
            try:
                return await self._try(engine, first)
            except StoreUnavailable:
                if self.dialect == "sqlite":
                    raise
                # A connection was lost while it was idle; all that are as old were dropped too.
                return await self._try(engine, first)
        except (OSError, SQLAlchemyError) as error:
            self._lose()
            raise StoreUnavailable from error

    async def _try(self, engine: AsyncEngine, first: str) -> AsyncConnection:
        connection = await engine.connect()
        try:
            await connection.exec_driver_sql(first)
        except StoreUnavailable:
            await _give_back(connection, is_sound=False)
            raise
        self._reachable = True
        return connection

    def _return(self, task: asyncio.Task[AsyncConnection]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._start(_give_back(task.result(), is_sound=True))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _make(self) -> Engines:
        if self.dialect == "sqlite":
            return sqlite_engines(
                self._url, self._timeout, self._lose, foreign_keys=self._foreign_keys
            )
        return postgres_engines(self._url, self._timeout, self._lose)

    def _lose(self) -> None:
        self._reachable = False


async def _give_back(connection: AsyncConnection, *, is_sound: bool) -> None:
    try:
        await connection.rollback()  # of nothing, where it was committed
    except (StoreUnavailable, OSError, SQLAlchemyError):
        is_sound = False
    if not is_sound:
        await connection.invalidate()
    await connection.close()
