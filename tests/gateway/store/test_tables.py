"""Both databases give back what they were given, and hold what the tables say."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, StatementError

from gateway.store.database import Database
from gateway.store.tables import keys, metadata, operators, plans, projects, tenants

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEPT = {"created": NOW, "updated": NOW}
INSTANTS = st.builds(
    lambda microseconds, minutes: (NOW + timedelta(microseconds=microseconds)).astimezone(
        timezone(timedelta(minutes=minutes))
    ),
    st.integers(-(10**15), 10**17),
    st.integers(-14 * 60, 14 * 60),
)


def _key(public_id: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "public_id": public_id,
        "tenant": "acme",
        "name": "ci",
        "digest": b"d" * 32,
        "pepper": "x",
        "scopes": [],
        "networks": [],
        **KEPT,
    }
    return fields | changes


@pytest.fixture
async def acme(database: Database) -> Database:
    async with database.writing() as connection:
        await connection.execute(insert(tenants).values(id="acme", plan="p", models=[], **KEPT))
        await connection.execute(insert(projects).values(tenant="acme", id="web", **KEPT))
    return database


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(at=INSTANTS)
async def test_an_instant_comes_back_to_the_microsecond_in_utc(
    database: Database, at: datetime
) -> None:
    async with database.writing() as connection:
        row = {"name": "p", "limits": {}, "created": at, "updated": at}
        await connection.execute(insert(plans).values(row))
        found = (await connection.execute(select(plans.c.created))).scalar_one()
        earlier = select(func.count()).where(plans.c.created <= at)
        assert (await connection.execute(earlier)).scalar() == 1
        await connection.execute(delete(plans))

    assert found == at
    assert found.utcoffset() == timedelta(0)


async def test_a_time_without_its_offset_is_refused(database: Database) -> None:
    row = {"name": "p", "limits": {}, "created": NOW.replace(tzinfo=None), "updated": NOW}
    with pytest.raises(StatementError, match="without its offset"):
        async with database.writing() as connection:
            await connection.execute(insert(plans).values(row))


async def test_a_list_that_is_not_given_is_none_and_an_empty_one_is_empty(acme: Database) -> None:
    async with acme.writing() as connection:
        await connection.execute(insert(keys).values(_key("k1", models=None)))
        await connection.execute(insert(keys).values(_key("k2", name="b", models=[])))
        found = (await connection.execute(select(keys.c.public_id, keys.c.models))).all()
        absent = select(keys.c.public_id).where(keys.c.models.is_(None))

        assert sorted(found) == [("k1", None), ("k2", [])]
        assert (await connection.execute(absent)).scalars().all() == ["k1"]


async def test_a_keys_name_is_free_again_once_it_is_replaced(acme: Database) -> None:
    async with acme.writing() as connection:
        await connection.execute(insert(keys).values(_key("k1")))
    with pytest.raises(IntegrityError):
        async with acme.writing() as connection:
            await connection.execute(insert(keys).values(_key("k2")))

    async with acme.writing() as connection:
        await connection.execute(update(keys).values(replaced_by="k2"))
        await connection.execute(insert(keys).values(_key("k2")))


async def test_a_key_belongs_to_a_project_of_its_own_tenant(acme: Database) -> None:
    with pytest.raises(IntegrityError):
        async with acme.writing() as connection:
            await connection.execute(insert(keys).values(_key("k1", project="elsewhere")))


async def test_what_a_tenant_has_goes_with_it(acme: Database) -> None:
    operator = {"name": "o", "password_hash": "x", "role": "admin", "signed_out": NOW, **KEPT}
    async with acme.writing() as connection:
        await connection.execute(insert(keys).values(_key("k1", project="web")))
        await connection.execute(insert(operators).values(operator | {"tenant": "acme"}))
        await connection.execute(insert(operators).values(operator | {"name": "root"}))
        await connection.execute(delete(tenants))
        counts = [
            (await connection.execute(select(func.count()).select_from(table))).scalar()
            for table in (projects, keys, operators)
        ]

    assert counts == [0, 0, 1]


def test_every_constraint_has_a_name_that_a_migration_can_use() -> None:
    for table in metadata.tables.values():
        assert all(constraint.name for constraint in table.constraints)
