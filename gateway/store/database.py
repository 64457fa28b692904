"""
The door to the database: SQLite in a file, or PostgreSQL.

`reading()` sees one state of the database from its first statement to its last; `writing()` is
one transaction. On SQLite there is one writer at a time, on PostgreSQL rows are locked as they
are written. No wait is longer than the time-out, not even on a server that accepts and never
answers, and no connection is used again after a statement was cut short on it.

An outage is `StoreUnavailable`, wherever it shows: on connecting, in a statement, on commit.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.contract.errors import StoreUnavailable

from .outage import is_outage

CONNECTIONS = 5
"""To one database, of one process."""

IDLE_IN_TRANSACTION = 60.0
"""Seconds after which PostgreSQL ends a transaction that asks for nothing: its process may hang,
and it holds locks."""

PARTING = 1.0
"""Seconds that PostgreSQL may take to say goodbye."""

_PRAGMAS = (
    "PRAGMA journal_mode = wal",  # readers and the writer don't wait for each other
    "PRAGMA synchronous = normal",
)


class Database:
    """
    One database, opened by `async with`; nothing is connected before the first use.

    `timeout` is in seconds and holds for each wait: for a connection, a lock, a statement. SQLite
    does without `foreign_keys` only while tables are rebuilt.

    Raises:
        ValueError: the address is none of `sqlite:///path` and `postgresql://…`.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, foreign_keys: bool = True) -> None:
        self._url = _address(url)
        self._timeout = timeout
        self._foreign_keys = foreign_keys
        self._reachable = True
        self._readers: AsyncEngine | None = None
        self._writers: AsyncEngine | None = None
        self._drivers: WeakSet[Any] = WeakSet()  # asyncpg's connections

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
        make = self._make_sqlite if self.dialect == "sqlite" else self._make_postgres
        try:
            # In a thread, as it reads a driver from the disk and may make a file.
            self._readers, self._writers = await asyncio.to_thread(make)
        except OSError as error:
            self._reachable = False
            raise StoreUnavailable from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection. None may be in use."""
        goodbyes = [driver.close(timeout=PARTING) for driver in self._drivers]
        await asyncio.gather(*goodbyes, return_exceptions=True)
        for engine in (self._readers, self._writers):
            if engine is not None:
                await engine.dispose()
        self._readers = self._writers = None

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        A connection to read on; writing on it fails.

        Raises:
            StoreUnavailable: the database is out of reach, at any point of the block.
        """
        return self._transaction(self._readers, "BEGIN")

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        A connection in a transaction, which is committed where the block ends without an error.

        Raises:
            StoreUnavailable: the database is out of reach, at any point of the block. Nothing was
                changed, unless it was the commit that failed: then nobody knows.
        """
        return self._transaction(self._writers, "BEGIN IMMEDIATE")

    async def ping(self) -> None:
        """
        Reach the database.

        Raises:
            StoreUnavailable: it was not reached within the time-out.
        """
        async with self.reading() as connection:
            await connection.exec_driver_sql("SELECT 1")

    @asynccontextmanager
    async def _transaction(
        self, engine: AsyncEngine | None, begin: str
    ) -> AsyncIterator[AsyncConnection]:
        assert engine is not None, "not opened"
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await stack.enter_async_context(engine.connect())
            except (OSError, SQLAlchemyError) as error:
                self._reachable = False
                raise StoreUnavailable from error
            await stack.enter_async_context(connection.begin())
            if self.dialect == "sqlite":
                await connection.exec_driver_sql(begin)
            self._reachable = True
            yield connection

    def _make_sqlite(self) -> tuple[AsyncEngine, AsyncEngine]:
        path = Path(self._url.database or "")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        readers = self._sqlite(path, CONNECTIONS - 1, "PRAGMA query_only = 1")
        # Writers of this process wait here, in order, rather than for the file's lock.
        keys = "PRAGMA foreign_keys = 1" if self._foreign_keys else "PRAGMA foreign_keys = 0"
        return readers, self._sqlite(path, 1, keys)

    def _sqlite(self, path: Path, size: int, pragma: str) -> AsyncEngine:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={
                "timeout": self._timeout,  # for the lock that another process holds
                "isolation_level": None,  # transactions begin where this module says
            },
            pool_size=size,
            max_overflow=0,
            pool_timeout=self._timeout,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", partial(_run, (*_PRAGMAS, pragma)))
        event.listen(engine.sync_engine, "handle_error", self._name)
        return engine

    def _make_postgres(self) -> tuple[AsyncEngine, AsyncEngine]:
        connect = partial(
            import_module("asyncpg").connect,
            # asyncpg reads what libpq does: sslmode, sslrootcert, several hosts.
            self._url.render_as_string(hide_password=False),
            password=self._url.password or "",  # None looks for one in files
            timeout=self._timeout,
            command_timeout=self._timeout,
            server_settings={
                "application_name": "lockgate",
                "statement_timeout": _milliseconds(self._timeout),
                "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION),
            },
        )
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=self._timeout,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", self._meet)
        event.listen(engine.sync_engine, "invalidate", _terminate)
        event.listen(engine.sync_engine, "handle_error", self._name)
        # A reader has one state of the database for all its statements, as SQLite has it.
        readers = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        return readers, engine

    def _meet(self, connection: Any, _: object) -> None:
        self._drivers.add(connection.driver_connection)

    def _name(self, context: ExceptionContext) -> StoreUnavailable | None:
        """Tell an outage from a mistake, and drop the connection that saw it."""
        error = context.sqlalchemy_exception or context.original_exception
        if not is_outage(error):
            return None
        context.is_disconnect = self.dialect == "postgresql"
        self._reachable = False
        return StoreUnavailable()


def _address(url: str) -> URL:
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):  # either may quote the password
        made = URL.create("")
    if made.drivername == "postgres":
        made = made.set(drivername="postgresql")
    file = made.database not in {None, "", ":memory:"}
    if made.drivername != "postgresql" and not (made.drivername == "sqlite" and file):
        raise ValueError("is none of sqlite:///path and postgresql://user:password@host/name")
    return made


def _run(statements: Sequence[str], connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def _terminate(connection: Any, _: object, __: BaseException | None) -> None:
    """Cut it off: a goodbye in order waits for a server that may be frozen."""
    connection.driver_connection.terminate()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
