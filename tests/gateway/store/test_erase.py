import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Table, func, insert, select

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.erase import BATCH, erase_tenant
from gateway.store.ledger import insert as insert_rows
from gateway.store.tables import keys, ledger, metadata, operators, projects, tenants
from tests.support.ledger_rows import request_id, row

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEPT = {"created": NOW, "updated": NOW}
CANARY = "canary-of-the-caller"


async def _tenant(database: Database, name: str, rows: int = 2) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(tenants).values(id=name, plan="p", models=[], **KEPT))
        await connection.execute(insert(projects).values(id="web", tenant=name, **KEPT))
        await connection.execute(
            insert(keys).values(
                public_id=f"{name}-key",
                tenant=name,
                project="web",
                name="ci",
                digest=b"d" * 32,
                pepper="x",
                scopes=[],
                networks=[],
                **KEPT,
            )
        )
        await connection.execute(
            insert(operators).values(
                name=f"{name}-admin",
                password_hash="x",
                role="admin",
                tenant=name,
                signed_out=NOW,
                **KEPT,
            )
        )
        await AuditLog.of(b"x").append(connection, Event("a", "create", "tenant", name, name))
        await insert_rows(
            connection,
            [
                row(
                    request_id=request_id(len(name) * 10_000 + number),
                    tenant=name,
                    tags={"user": f"{CANARY}-{name}"},
                    client_request_id=f"{CANARY}-{name}",
                )
                for number in range(rows)
            ],
        )


async def _erase(database: Database, name: str) -> int:
    async with database.writing() as connection:
        return await erase_tenant(connection, name)


async def _counts(database: Database, name: str) -> dict[str, int]:
    column = {"tenants": tenants.c.id, "ledger": ledger.c.tenant}
    async with database.reading() as connection:
        return {
            table.name: (
                await connection.execute(
                    select(func.count()).where(
                        column.get(table.name, table.c.get("tenant")) == name
                    )
                )
            ).scalar_one()
            for table in (tenants, projects, keys, operators, ledger)
        }


async def _everything(database: Database) -> str:
    async with database.reading() as connection:
        tables: list[Table] = metadata.sorted_tables
        return repr([(await connection.execute(select(table))).all() for table in tables])


async def test_what_is_a_tenants_goes_and_what_it_cost_stays(database: Database) -> None:
    await _tenant(database, "acme")
    await _tenant(database, "other")
    async with database.reading() as connection:
        costs = (await connection.execute(select(func.sum(ledger.c.cost)))).scalar()

    assert await _erase(database, "acme") == 2

    gone = {"tenants": 0, "projects": 0, "keys": 0, "operators": 0, "ledger": 2}
    assert await _counts(database, "acme") == gone
    assert await _counts(database, "other") == {name: count or 1 for name, count in gone.items()}
    async with database.reading() as connection:
        assert (await connection.execute(select(func.sum(ledger.c.cost)))).scalar() == costs
    found = await _everything(database)
    assert f"{CANARY}-acme" not in found
    assert f"{CANARY}-other" in found


async def test_the_audit_log_is_kept_and_sound(database: Database) -> None:
    await _tenant(database, "acme")
    await _erase(database, "acme")

    async with database.reading() as connection:
        verdict = await AuditLog.of(b"x").verify(connection)
    assert (verdict.head.seq, verdict.bad) == (1, None)


async def test_erasing_again_finds_what_came_since(database: Database) -> None:
    await _tenant(database, "acme")
    await _erase(database, "acme")
    async with database.writing() as connection:
        late = row(request_id=request_id(7), tenant="acme", tags={"user": CANARY})
        await insert_rows(connection, [late])

    assert await _erase(database, "acme") == 1
    assert await _erase(database, "acme") == 0
    assert CANARY not in await _everything(database)


async def test_a_long_ledger_is_erased_whole(database: Database) -> None:
    await _tenant(database, "acme", BATCH + 1)

    assert await _erase(database, "acme") == BATCH + 1
    assert CANARY not in await _everything(database)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_left_in_sqlites_file(database_url: str) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))

    async def fill() -> None:
        async with Database(database_url) as database:
            await _tenant(database, "acme", 50)

    async def erase() -> None:
        async with Database(database_url) as database:
            await _erase(database, "acme")

    asyncio.run(fill())
    assert CANARY.encode() in path.read_bytes()
    asyncio.run(erase())

    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert CANARY.encode() not in path.read_bytes()
