"""
Which errors of a driver mean that the database is out of reach, and which that we are wrong.

An outage is worth another try and no fault of the statement; everything else (a constraint, a
missing table, a syntax error) passes through as SQLAlchemy names it.
"""

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes; extended ones have more above the lowest byte."""

_POSTGRES = (
    "08",  # connection lost
    "40",  # rolled back in favour of another: deadlock, serialisation
    "53",  # out of connections, disk or memory
    "55P03",  # a lock not had in time
    "57",  # cancelled, shut down or not yet up
    "58",  # the server's own system
)
"""SQLSTATEs, by how they begin."""


def is_outage(error: BaseException, *, may_write: bool = True) -> bool:
    """Whether the database, rather than the statement, is at fault."""
    if isinstance(error, OSError | NoFreeConnection):  # time-outs are OSErrors
        return True
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(driver, sqlite3.OperationalError):
        code = getattr(driver, "sqlite_errorcode", 0) & 0xFF
        return code in _SQLITE and (may_write or code != sqlite3.SQLITE_READONLY)
    state = getattr(driver, "sqlstate", None)
    return isinstance(state, str) and state.startswith(_POSTGRES)
