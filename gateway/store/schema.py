"""
Which version of the schema a database has, and whether this Lockgate may use it.

SQLite is brought to the newest version when it is opened for serving; PostgreSQL only by
`lockgate migrate`, because replicas of two versions may share it.
"""

import asyncio
from enum import Enum
from importlib import import_module

from sqlalchemy import Connection, column, inspect, select, table

from ..settings import StartRefused
from .database import Database

REVISIONS = ("0001",)
"""The versions in `migrations`, from the oldest to the newest."""

_VERSION = table("alembic_version", column("version_num"))


class State(Enum):
    """How a database's schema stands to this version of Lockgate."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


class SchemaRefused(StartRefused):
    """The schema is not this version's. Exit code 2; the text says what to do."""


async def check(database: Database) -> State:
    """
    Look the version up.

    Raises:
        StoreUnavailable: the database is out of reach.
    """
    async with database.reading() as connection:
        revision = await connection.run_sync(_revision)
    if revision is None:
        return State.EMPTY
    if revision == REVISIONS[-1]:
        return State.CURRENT
    return State.OLDER if revision in REVISIONS else State.NEWER


async def prepare(url: str) -> None:
    """
    Make sure that the database has this version's schema, before it is served from.

    Raises:
        SchemaRefused: it has not. A SQLite file that is merely older was migrated instead.
        StoreUnavailable: the database is out of reach.
    """
    async with Database(url) as database:
        state = await check(database)
    if state is State.CURRENT:
        return
    if state is State.NEWER:
        raise SchemaRefused(
            "LOCKGATE_DATABASE_URL: the schema is of a newer Lockgate than this one"
        )
    if database.dialect == "postgresql":
        what = (
            "has no schema yet" if state is State.EMPTY else "has the schema of an older Lockgate"
        )
        raise SchemaRefused(f"LOCKGATE_DATABASE_URL: the database {what}; run `lockgate migrate`")
    # Alembic takes long to load.
    migrations = await asyncio.to_thread(import_module, "gateway.store.migrate")
    await migrations.migrate(url)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar()
