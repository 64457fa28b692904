from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.store.database import Database
from gateway.store.migrate import downgrade, migrate
from gateway.store.schema import REVISIONS, SchemaRefused, State, check, prepare
from tests.support.postgres_server import PostgresServer


async def _state(url: str) -> State:
    async with Database(url) as database:
        return await check(database)


async def _set_revision(url: str, revision: str) -> None:
    async with Database(url) as database, database.writing() as connection:
        await connection.execute(
            text("UPDATE alembic_version SET version_num = :new"), {"new": revision}
        )


async def test_the_newest_version_is_known_as_current(database_url: str) -> None:
    assert await _state(database_url) is State.CURRENT
    await prepare(database_url)


async def test_a_database_without_tables_is_empty(database_url: str) -> None:
    await downgrade(database_url, "base")

    assert await _state(database_url) is State.EMPTY


async def test_a_version_that_is_not_known_is_newer_and_refused(database_url: str) -> None:
    await _set_revision(database_url, "9999")

    assert await _state(database_url) is State.NEWER
    with pytest.raises(SchemaRefused, match="newer Lockgate") as refused:
        await prepare(database_url)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


async def test_a_version_before_the_last_is_older(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.schema.REVISIONS", (*REVISIONS, "9999"))

    assert await _state(database_url) is State.OLDER


async def test_an_empty_sqlite_file_gets_its_tables_by_itself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state/lockgate.db"

    await prepare(url)

    assert await _state(url) is State.CURRENT


@pytest.mark.parametrize("is_empty", [True, False])
async def test_postgresql_is_left_as_it_is_and_migrate_is_named(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, is_empty: bool
) -> None:
    name = postgres_server.new_database()
    url = postgres_server.url_of(name)
    if not is_empty:
        await migrate(url)
        monkeypatch.setattr("gateway.store.schema.REVISIONS", (*REVISIONS, "9999"))

    with pytest.raises(SchemaRefused, match="run `lockgate migrate`") as refused:
        await prepare(url)

    assert "\n" not in str(refused.value)
    assert await _state(url) is (State.EMPTY if is_empty else State.OLDER)
    postgres_server.drop_database(name)
