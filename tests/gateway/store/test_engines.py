import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.settings import StartRefused
from gateway.store.database import Database
from gateway.store.engines import CONNECTIONS, Engines, read_address, sqlite_engines


def _nothing() -> None: ...


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://u:hunter2@h/d",
        "postgresql://u:hunter2:hunter2@h:hunter2/d",
        "postgresql+psycopg://u:hunter2@h/d",
        "hunter2",
    ],
)
def test_any_other_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(StartRefused, match="LOCKGATE_DATABASE_URL is none of") as error:
        read_address(url)

    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_tls_that_there_is_not_is_refused_in_one_line() -> None:
    with pytest.raises(StartRefused, match="LOCKGATE_DATABASE_URL: sslmode is none") as error:
        read_address("postgresql://u:hunter2@h/d?sslmode=yes")

    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_postgresql_has_two_names(scheme: str) -> None:
    assert read_address(f"{scheme}://u@h/d").drivername == "postgresql"


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    url = read_address(f"sqlite:///{tmp_path}/lockgate.db")
    return sqlite_engines(url, 1.0, _nothing, foreign_keys=True)


async def test_every_connection_of_sqlite_is_set_up(engines: Engines) -> None:
    asked = ("journal_mode", "foreign_keys", "query_only", "busy_timeout")
    found = []
    for engine in (engines.readers, engines.writers):
        async with engine.connect() as connection:
            rows = [await connection.exec_driver_sql(f"PRAGMA {name}") for name in asked]
            found.append([row.scalar() for row in rows])
    await engines.close()

    assert found == [["wal", 0, 1, 1000], ["wal", 1, 0, 1000]]


async def test_a_process_has_so_many_connections_and_no_more(database: Database) -> None:
    async def read() -> None:
        async with database.reading() as connection:
            await connection.execute(text("SELECT 1"))
            await asyncio.sleep(0)

    await asyncio.gather(*(read() for _ in range(4 * CONNECTIONS)))

    assert database._engines is not None
    assert 0 < database._engines.readers.pool.checkedin() <= CONNECTIONS  # type: ignore[attr-defined]


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "lockgate.db"
    path.touch(0o640)

    sqlite_engines(read_address(f"sqlite:///{path}"), 1.0, _nothing, foreign_keys=True)

    assert path.stat().st_mode & 0o777 == 0o640
