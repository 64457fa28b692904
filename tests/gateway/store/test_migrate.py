import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.migrate import downgrade, migrate
from gateway.store.schema import REVISIONS, State, check
from gateway.store.tables import metadata, plans, tenants
from tests.support.postgres_server import PostgresServer

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MIGRATE = """
import asyncio, sys
from gateway.store.migrate import migrate
asyncio.run(migrate(sys.argv[1]))
"""


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return compare_metadata(context, metadata)


async def _fill(url: str) -> None:
    kept = {"created": NOW, "updated": NOW}
    async with Database(url) as database, database.writing() as connection:
        await connection.execute(insert(plans).values(name="p", limits={}, **kept))
        await connection.execute(insert(tenants).values(id="acme", plan="p", models=[], **kept))
        await AuditLog.of(b"x").append(connection, Event("a", "create", "tenant", "acme"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/lockgate.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.new_database()
    yield server.url_of(name)
    server.drop_database(name)


async def test_migrations_lead_to_the_tables_that_the_code_expects(database: Database) -> None:
    async with database.reading() as connection:
        assert await connection.run_sync(_differences) == []


async def test_up_down_and_up_again_works_with_data_in_place(database_url: str) -> None:
    await _fill(database_url)

    await downgrade(database_url, "base")
    async with Database(database_url) as database, database.reading() as connection:
        left = await connection.run_sync(lambda c: inspect(c).get_table_names())
    await migrate(database_url)

    assert left == ["alembic_version"]
    await _fill(database_url)


async def test_migrating_what_is_migrated_changes_nothing(database_url: str) -> None:
    await _fill(database_url)

    await migrate(database_url)

    async with Database(database_url) as database, database.reading() as connection:
        assert (await connection.execute(select(tenants.c.id))).scalar() == "acme"


async def test_a_migration_that_fails_has_changed_nothing(empty_url: str) -> None:
    async with Database(empty_url) as database, database.writing() as connection:
        # The last table of the first version is in the way.
        await connection.execute(text("CREATE TABLE attempts (x INTEGER)"))

    with pytest.raises(Exception, match="attempts"):
        await migrate(empty_url)

    async with Database(empty_url) as database:
        assert await check(database) is State.EMPTY
        async with database.reading() as connection:
            left = await connection.run_sync(lambda c: inspect(c).get_table_names())
    assert left == ["attempts"]


async def test_processes_that_migrate_at_once_do_it_once(empty_url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, empty_url, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    ended = [(await process.communicate())[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], ended
    async with Database(empty_url) as database:
        assert await check(database) is State.CURRENT


def test_every_migration_is_listed_and_has_a_way_back() -> None:
    folder = Path(sys.modules["gateway.store.migrate"].__file__ or "").with_name("migrations")
    script = ScriptDirectory(folder, version_locations=[folder])
    revisions = [revision.revision for revision in script.walk_revisions()]

    assert tuple(reversed(revisions)) == REVISIONS
    assert all(hasattr(script.get_revision(name).module, "downgrade") for name in revisions)
