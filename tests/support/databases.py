"""
Databases for tests: each test has one of its own, on SQLite and on a real PostgreSQL.

Import the fixtures into a conftest.py. The server is started once for the session, at its first
use; a test's database is a copy of one that is migrated already.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.store.database import Database
from gateway.store.migrate import migrate
from tests.support.postgres_server import PostgresServer

_SERVER = pytest.StashKey[PostgresServer]()
_TEMPLATE = pytest.StashKey[str]()
_FILE = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """One for the session, however many folders import this. Leave it running."""
    stash = pytestconfig.stash
    if _SERVER not in stash:
        stash[_SERVER] = server = PostgresServer()
        pytestconfig.add_cleanup(server.close)
        server.start()
    return stash[_SERVER]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, tmp_path: Path
) -> Iterator[str]:
    """A migrated database without rows, on each kind in turn."""
    if request.param == "sqlite":
        path = tmp_path / "lockgate.db"
        shutil.copyfile(_file(request, pytestconfig), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with _copy(server, pytestconfig) as name:
        yield server.url_of(name)


@pytest.fixture
def postgres_name(postgres_server: PostgresServer, pytestconfig: pytest.Config) -> Iterator[str]:
    """A migrated database without rows on PostgreSQL alone, by its name there."""
    with _copy(postgres_server, pytestconfig) as name:
        yield name


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The same, opened."""
    async with Database(database_url) as opened:
        yield opened


@contextmanager
def _copy(server: PostgresServer, pytestconfig: pytest.Config) -> Iterator[str]:
    name = server.new_database(_template(server, pytestconfig))
    yield name
    server.drop_database(name)


def _file(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Path:
    if _FILE not in pytestconfig.stash:
        folder: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        path = folder.mktemp("store") / "lockgate.db"
        asyncio.run(migrate(f"sqlite:///{path}"))
        pytestconfig.stash[_FILE] = path
    return pytestconfig.stash[_FILE]


def _template(server: PostgresServer, pytestconfig: pytest.Config) -> str:
    if _TEMPLATE not in pytestconfig.stash:
        name = server.new_database()
        asyncio.run(migrate(server.url_of(name)))
        pytestconfig.stash[_TEMPLATE] = name
    return pytestconfig.stash[_TEMPLATE]
