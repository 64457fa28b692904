"""The role of deploy/postgres/roles.sql can do what serving takes, and nothing else."""

from collections.abc import Iterator

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import DBAPIError

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.erase import erase_tenant
from gateway.store.ledger import insert as insert_rows
from gateway.store.schema import State, check, prepare
from gateway.store.tables import metadata, plans, tenants
from tests.support.databases import postgres_name, postgres_server
from tests.support.ledger_rows import AT, row
from tests.support.postgres_server import PostgresServer
from tests.support.processes import ROOT

__all__ = ["postgres_name", "postgres_server"]

ROLES = ROOT / "deploy" / "postgres" / "roles.sql"
KEPT = {"created": AT, "updated": AT}


@pytest.fixture
def url(postgres_server: PostgresServer, postgres_name: str) -> Iterator[str]:
    """As the gateway connects."""
    postgres_server.sql("CREATE ROLE lockgate_serve LOGIN")
    postgres_server.sql(ROLES.read_text(), postgres_name)
    yield postgres_server.url_of(postgres_name, "lockgate_serve")
    postgres_server.sql("DROP OWNED BY lockgate_serve", postgres_name)
    postgres_server.sql("DROP ROLE lockgate_serve")


async def test_the_role_can_do_what_serving_takes(url: str) -> None:
    log = AuditLog.of(b"secret")
    await prepare(url)
    async with Database(url) as database:
        assert await check(database) is State.CURRENT
        async with database.writing() as connection:
            await connection.execute(insert(plans).values(name="p", limits={}, **KEPT))
            await connection.execute(insert(tenants).values(id="a", plan="p", models=[], **KEPT))
            await connection.execute(update(plans).values(version=2))
            await insert_rows(connection, [row(tenant="a")])
            await log.append(connection, Event("me", "create", "tenant", "a"))
            assert await erase_tenant(connection, "a") >= 0
            await connection.execute(delete(plans))
        async with database.reading() as connection:
            assert (await log.verify(connection)).bad is None


@pytest.mark.usefixtures("url")
def test_the_script_may_be_run_again(postgres_server: PostgresServer, postgres_name: str) -> None:
    postgres_server.sql(ROLES.read_text(), postgres_name)


def test_the_script_names_every_table() -> None:
    script = ROLES.read_text()

    assert [name for name in metadata.tables if f" {name}" not in script] == []


FORBIDDEN = [
    "UPDATE audit SET actor = 'nobody'",
    "DELETE FROM audit",
    "TRUNCATE audit",
    "TRUNCATE ledger",
    "DELETE FROM audit_head",
    "INSERT INTO audit_head VALUES (2, 0, '')",
    "UPDATE audit_head SET seq = 0",
    "ALTER TABLE audit DISABLE TRIGGER ALL",
    "ALTER TABLE audit DISABLE TRIGGER audit_is_not_changed",
    "ALTER TABLE audit OWNER TO lockgate_serve",
    "ALTER TABLE tenants ADD COLUMN x int",
    "DROP TRIGGER audit_is_not_changed ON audit",
    "DROP FUNCTION refuse_audit_change CASCADE",
    (
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NEW; END $$"
    ),
    "CREATE TRIGGER x BEFORE INSERT ON audit EXECUTE FUNCTION refuse_audit_change()",
    "CREATE RULE x AS ON INSERT TO audit DO INSTEAD NOTHING",
    "CREATE INDEX x ON audit (actor)",
    "DROP TABLE audit",
    "DROP TABLE plans",
    "CREATE TABLE x (y int)",
    "CREATE VIEW x AS SELECT 1",
    "CREATE SCHEMA x",
    "DROP SCHEMA public CASCADE",
    "CREATE EXTENSION pgcrypto",
    "UPDATE alembic_version SET version_num = '9'",
    "DELETE FROM alembic_version",
    "SET session_replication_role = replica",
    "SET ROLE lockgate",
    "CREATE ROLE x SUPERUSER",
    "ALTER ROLE lockgate_serve SUPERUSER",
    "ALTER SYSTEM SET fsync = off",
    "COPY audit TO '/tmp/x'",
    "COPY audit FROM PROGRAM 'true'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
]


async def test_the_role_can_do_nothing_else(url: str) -> None:
    done = []
    async with Database(url) as database:
        for statement in FORBIDDEN:
            try:
                async with database.writing() as connection:
                    await connection.exec_driver_sql(statement)
            except DBAPIError:
                continue
            done.append(statement)

    assert done == []
