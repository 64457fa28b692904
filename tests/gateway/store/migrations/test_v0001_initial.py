import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from tests.support.postgres_server import PostgresServer


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "UPDATE audit SET actor = actor",
        "DELETE FROM audit",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET seq = 0",
        "UPDATE audit_head SET seq = seq",
        "UPDATE audit_head SET seq = seq + 2",
        "UPDATE audit_head SET id = 2, seq = seq + 1",
    ],
)
async def test_the_audit_log_is_append_only(database: Database, statement: str) -> None:
    async with database.writing() as connection:
        await AuditLog.of(b"x").append(connection, Event("a", "create", "tenant", "acme"))

    with pytest.raises(DBAPIError, match="append-only"):
        async with database.writing() as connection:
            await connection.execute(text(statement))


@pytest.mark.parametrize("table", ["audit", "audit_head"])
def test_postgresql_does_not_truncate_it_either(
    postgres_server: PostgresServer, postgres_name: str, table: str
) -> None:
    with pytest.raises(RuntimeError, match="append-only"):
        postgres_server.sql(f"TRUNCATE {table}", postgres_name)
