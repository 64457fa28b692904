"""Administration over a database of each kind, for every test of this folder that asks for it."""

import pytest

from gateway.store.database import Database
from tests.support.administration import Office, office_of
from tests.support.databases import database, database_url, postgres_server

__all__ = ["database", "database_url", "postgres_server"]


@pytest.fixture
def office(database: Database) -> Office:
    return office_of(database)
