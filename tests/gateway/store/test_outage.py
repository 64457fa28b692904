import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.store.outage import is_outage


def _sqlite(code: int) -> DBAPIError:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    return DBAPIError("SELECT 1", {}, error)


class _PostgresError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def _postgres(state: str) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, _PostgresError(state))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        FileNotFoundError(),
        _sqlite(sqlite3.SQLITE_BUSY),
        _sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT),
        _sqlite(sqlite3.SQLITE_FULL),
        _postgres("08006"),
        _postgres("40P01"),
        _postgres("53300"),
        _postgres("55P03"),
        _postgres("57014"),
        _postgres("57P01"),
        DBAPIError("SELECT 1", {}, Exception(), connection_invalidated=True),
    ],
    ids=str,
)
def test_a_database_out_of_reach_or_too_busy_is_an_outage(error: BaseException) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        _sqlite(sqlite3.SQLITE_ERROR),
        DBAPIError("SELECT 1", {}, sqlite3.OperationalError("Could not decode to UTF-8")),
        _postgres("42P01"),
        _postgres("25006"),
        IntegrityError("INSERT", {}, sqlite3.IntegrityError()),
        ValueError(),
    ],
    ids=str,
)
def test_a_mistake_in_a_statement_is_none(error: BaseException) -> None:
    assert not is_outage(error)
