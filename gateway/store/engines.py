"""
SQLAlchemy's engines for the two databases, and what each needs to behave like the other.

Readers can't write, foreign keys hold, a transaction begins where it is told to, no wait is
longer than the time-out, and an outage is `StoreUnavailable` in whatever statement it shows.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..contract.errors import StoreUnavailable
from ..settings import StartRefused
from .outage import is_outage
from .tls import check_tls, read_tls

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
    "PRAGMA secure_delete = 1",  # what is erased is erased from the file
)


class AddressRefused(StartRefused, ValueError):
    """The address is none of a database. The text does not show it, as it may hold a password."""


def read_address(url: str) -> URL:
    """
    The address of a database.

    Raises:
        AddressRefused: it is none of `sqlite:///path` and `postgresql://…`, or asks for a TLS that
            there is not.
    """
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):  # either may quote the password
        made = URL.create("")
    if made.drivername == "postgres":
        made = made.set(drivername="postgresql")
    is_file = made.database not in {None, "", ":memory:"}
    if made.drivername != "postgresql" and not (made.drivername == "sqlite" and is_file):
        known = "sqlite:///path and postgresql://user:password@host/name"
        raise AddressRefused(f"LOCKGATE_DATABASE_URL is none of {known}")
    try:
        check_tls(made)
    except ValueError as error:
        raise AddressRefused(f"LOCKGATE_DATABASE_URL: {error}") from None
    return made


@dataclass(frozen=True, slots=True, eq=False)
class Engines:
    """
    What to read and what to write with, and the statement that a transaction begins with.

    On PostgreSQL that one only shows whether the connection still stands: many are as good as any.
    """

    readers: AsyncEngine
    writers: AsyncEngine
    begin_reading: str
    begin_writing: str
    drivers: WeakSet[Any]
    """PostgreSQL's connections, as asyncpg has them."""

    async def close(self) -> None:
        """Close every connection, without waiting for a server that may be frozen."""
        goodbyes = [driver.close(timeout=PARTING) for driver in self.drivers]
        await asyncio.gather(*goodbyes, return_exceptions=True)
        for engine in (self.readers, self.writers):
            await engine.dispose()


def sqlite_engines(
    url: URL, patience: float, lost: Callable[[], None], *, foreign_keys: bool
) -> Engines:
    """
    Engines of a file, which is created for its owner alone if there is none.

    Raises:
        OSError: it can't be created.
    """
    path = Path(url.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    keys = "PRAGMA foreign_keys = 1" if foreign_keys else "PRAGMA foreign_keys = 0"
    return Engines(
        readers=_sqlite(path, patience, lost, "PRAGMA query_only = 1", may_write=False),
        writers=_sqlite(path, patience, lost, keys, may_write=True),
        begin_reading="BEGIN",
        begin_writing="BEGIN IMMEDIATE",
        drivers=WeakSet(),
    )


def _sqlite(
    path: Path, patience: float, lost: Callable[[], None], pragma: str, *, may_write: bool
) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={
            "timeout": patience,  # for the lock that another process holds
            "isolation_level": None,  # transactions begin where `Engines` says
        },
        # Writers of this process wait for their connection, in order, rather than for the file.
        pool_size=1 if may_write else CONNECTIONS - 1,
        max_overflow=0,
        pool_timeout=patience,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", partial(_run, (*_PRAGMAS, pragma)))
    event.listen(engine.sync_engine, "handle_error", partial(_name, lost, may_write=may_write))
    return engine


def postgres_engines(url: URL, patience: float, lost: Callable[[], None]) -> Engines:
    """
    Engines of a server; nothing is connected yet.

    Raises:
        OSError: a certificate can't be read.
    """
    address, tls = read_tls(url)
    connect = partial(
        import_module("asyncpg").connect,
        address.render_as_string(hide_password=False),  # in libpq's words, as are several hosts
        ssl=tls,
        password=url.password or "",  # None looks for one in files
        timeout=patience,
        command_timeout=patience,
        server_settings={
            "application_name": "lockgate",
            "statement_timeout": _milliseconds(patience),
            "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION),
        },
    )
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=patience,
        hide_parameters=True,
    )
    drivers: WeakSet[Any] = WeakSet()
    event.listen(engine.sync_engine, "connect", partial(_meet, drivers))
    event.listen(engine.sync_engine, "invalidate", _terminate)
    event.listen(engine.sync_engine, "handle_error", partial(_name, lost))
    # A reader has one state of the database for all its statements, as SQLite has it.
    readers = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Engines(
        readers=readers,
        writers=engine,
        begin_reading="SELECT 1",
        begin_writing="SELECT 1",
        drivers=drivers,
    )


def _run(statements: Sequence[str], connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def _meet(drivers: WeakSet[Any], connection: Any, _: object) -> None:
    drivers.add(connection.driver_connection)


def _terminate(connection: Any, _: object, __: BaseException | None) -> None:
    """Cut it off: a goodbye in order waits for a server that may be frozen."""
    connection.driver_connection.terminate()


def _name(
    lost: Callable[[], None], context: ExceptionContext, *, may_write: bool = True
) -> StoreUnavailable | None:
    """Tell an outage from a mistake, and have a connection dropped that saw one."""
    error = context.sqlalchemy_exception or context.original_exception
    is_lost = is_outage(error, may_write=may_write)
    if context.dialect.name == "sqlite":
        # A cancelled statement still runs in SQLite's thread: what was begun is rolled back
        # behind it rather than left to whoever collects the connection.
        context.is_disconnect = False
    elif is_lost:
        context.is_disconnect = True
    if not is_lost:
        return None
    lost()
    return StoreUnavailable()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
