"""
Brings a database from one version of the schema to another.

Alembic does the work. It takes long to load, so whoever only asks for the version (`schema`) does
without this module. A migration is one transaction and holds a lock from its beginning: of two
processes that start at once the second finds the work done, and one that fails has changed nothing.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from .database import Database

LONGEST = 600.0
"""Seconds that one statement of a migration, or the wait for another process's, may take."""

_LOCK = 0x6C6F636B67617465
"""The advisory lock of PostgreSQL; any number that nobody else uses. Here: `lockgate`."""


async def migrate(url: str) -> None:
    """
    Bring the database at `url` to the newest version; an empty one gets its tables.

    Raises:
        StoreUnavailable: it is out of reach; nothing was changed.
    """
    # Alembic's manual has it so, underscore and all.
    await _run(url, lambda script, now: script._upgrade_revs("head", now))  # noqa: SLF001


async def downgrade(url: str, revision: str) -> None:
    """
    Take the database back to a version, `base` being none; what that has no place for is lost.

    Raises:
        StoreUnavailable: it is out of reach; nothing was changed.
    """
    await _run(url, lambda script, now: script._downgrade_revs(revision, now))  # noqa: SLF001


async def _run(url: str, steps: Callable[[ScriptDirectory, Any], list[RevisionStep]]) -> None:
    script = await asyncio.to_thread(_script)
    async with (
        Database(url, timeout=LONGEST, foreign_keys=False) as database,
        database.writing() as connection,
    ):
        if database.dialect == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        await connection.run_sync(_apply, script, steps)


def _script() -> ScriptDirectory:
    folder = Path(__file__).with_name("migrations")
    script = ScriptDirectory(folder, version_locations=[folder])
    list(script.walk_revisions())  # reads the modules
    return script


def _apply(
    connection: Connection,
    script: ScriptDirectory,
    steps: Callable[[ScriptDirectory, Any], list[RevisionStep]],
) -> None:
    def plan(now: Any, _: MigrationContext) -> list[RevisionStep]:
        return steps(script, now)

    with EnvironmentContext(Config(), script) as environment:
        environment.configure(connection=connection, fn=plan)
        environment.run_migrations()
    if connection.dialect.name == "sqlite":  # which did not look while it worked
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        assert not dangling, dangling
