"""Databases and Redis for every test of this folder that asks for one."""

from collections.abc import Iterator

import pytest

from tests.support.databases import database, database_url, postgres_server
from tests.support.redis_server import RedisServer

__all__ = ["database", "database_url", "postgres_server"]


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One for the folder."""
    with RedisServer() as server:
        yield server
