"""What authentication reads and writes, on both databases."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.contract.errors import StoreUnavailable
from gateway.store import identities as module
from gateway.store.database import Database
from gateway.store.identities import Identities, Identity
from gateway.store.tables import keys, projects, tenants

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT: Mapping[str, Any] = {"version": 3, "created": NOW, "updated": NOW}
A, B, C = "a" * 12, "b" * 12, "c" * 12


async def fill(database: Database) -> None:
    """Tenant `acme` with project `web`; key A is the project's, key B the tenant's own."""
    async with database.writing() as connection:
        await connection.execute(
            insert(tenants),
            [
                {"id": "acme", "plan": "gold", "models": ["chat", "embed"], **KEPT},
                {"id": "other", "plan": "free", "models": ["*"], **KEPT},
            ],
        )
        web = {"tenant": "acme", "id": "web", "plan": "silver", "models": ["chat"], **KEPT}
        await connection.execute(insert(projects), [web])
        for public_id, name, more in ((A, "one", {"project": "web"}), (B, "two", {})):
            await connection.execute(insert(keys), [key(public_id, name, **more)])


def key(public_id: str, name: str, **more: Any) -> dict[str, Any]:
    fixed = {
        "public_id": public_id,
        "tenant": "acme",
        "name": name,
        "digest": public_id[:1].encode() * 32,
        "pepper": "0" * 16,
        "scopes": ["inference"],
        "networks": ["10.0.0.0/8"],
    }
    return {**fixed, **KEPT, **more}


async def row(database: Database, public_id: str) -> Any:
    async with database.reading() as connection:
        return (await connection.execute(select(keys).where(keys.c.public_id == public_id))).one()


async def test_a_key_is_found_with_what_stands_above_it(database: Database) -> None:
    await fill(database)
    expires = datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    async with database.writing() as connection:
        changed = {"expires": expires, "plan": "bronze", "models": ["chat"]}
        await connection.execute(update(keys).where(keys.c.public_id == A).values(changed))

    assert (await Identities(database).find([A]))[A] == Identity(
        public_id=A,
        name="one",
        digest=b"a" * 32,
        pepper="0" * 16,
        plan="bronze",
        models=("chat",),
        scopes=("inference",),
        networks=("10.0.0.0/8",),
        expires=expires,
        disabled=False,
        tenant="acme",
        tenant_plan="gold",
        tenant_models=("chat", "embed"),
        tenant_suspended=False,
        project="web",
        project_plan="silver",
        project_models=("chat",),
        project_suspended=False,
    )


async def test_a_key_without_a_project_has_none(database: Database) -> None:
    await fill(database)

    found = (await Identities(database).find([B]))[B]

    assert (found.project, found.project_plan, found.project_models) == (None, None, None)
    assert found.project_suspended is False
    assert (found.plan, found.models, found.expires) == (None, None, None)


async def test_there_is_no_key_of_another_id(database: Database) -> None:
    await fill(database)

    assert await Identities(database).find([C, "' or 1=1 --"]) == {}


async def test_a_suspended_tenant_and_project_are_told(database: Database) -> None:
    await fill(database)
    async with database.writing() as connection:
        await connection.execute(update(tenants).values(suspended=True))
        await connection.execute(update(projects).values(suspended=True))

    found = (await Identities(database).find([A]))[A]

    assert (found.tenant_suspended, found.project_suspended) == (True, True)


async def test_keys_are_found_by_one_query(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database)
    asked = []
    execute = AsyncConnection.execute

    async def counting(self: Any, statement: Any, *more: Any) -> Any:
        asked.append(statement)
        return await execute(self, statement, *more)

    monkeypatch.setattr(AsyncConnection, "execute", counting)
    assert set(await Identities(database).find([A, C, B])) == {A, B}
    assert len(asked) == 1


async def test_the_peppers_of_stored_keys_are_told(database: Database) -> None:
    assert await Identities(database).peppers() == frozenset()
    await fill(database)
    async with database.writing() as connection:
        await connection.execute(insert(keys), [key(C, "three", pepper="1" * 16)])

    assert await Identities(database).peppers() == {"0" * 16, "1" * 16}


async def test_what_is_gone_suspended_disabled_or_expired_has_ended(database: Database) -> None:
    await fill(database)
    ids = [f"{number:012}" for number in range(4)]
    states = [
        {},
        {"disabled": True},
        {"expires": NOW},
        {"expires": NOW + timedelta(seconds=1)},
    ]
    async with database.writing() as connection:
        for id_, state in zip(ids, states, strict=True):
            await connection.execute(insert(keys), [key(id_, id_, **state)])
        await connection.execute(
            insert(projects),
            [{"tenant": "other", "id": "web", "suspended": True, **KEPT}],
        )
        await connection.execute(
            update(tenants).where(tenants.c.id == "other").values(suspended=True)
        )

    ended = await Identities(database).ended(
        {"acme", "other", "gone"},
        {("acme", "web"), ("other", "web"), ("acme", "gone")},
        {*ids, C},
        NOW,
    )

    assert ended == ({"other", "gone"}, {("other", "web"), ("acme", "gone")}, {ids[1], ids[2], C})


async def test_nothing_of_nothing_has_ended(database: Database) -> None:
    assert await Identities(database).ended((), (), (), NOW) == (set(), set(), set())


async def test_any_number_may_have_ended(database: Database) -> None:
    many = [f"{number:012}" for number in range(3 * module.AT_ONCE)]

    ended = await Identities(database).ended(many, [(id_, id_) for id_ in many], many, NOW)

    assert [len(each) for each in ended] == [len(many)] * 3


async def test_the_latest_use_is_kept_and_counts_as_no_change(database: Database) -> None:
    await fill(database)
    identities = Identities(database)

    await identities.write({A: NOW, B: NOW, C: NOW}, {})
    await identities.write({A: NOW - timedelta(minutes=1), B: NOW + timedelta(minutes=1)}, {})

    assert (await row(database, A)).last_used == NOW
    assert (await row(database, B)).last_used == NOW + timedelta(minutes=1)
    assert (await row(database, A)).version == 3
    assert (await row(database, A)).updated == NOW


async def test_a_digest_takes_the_place_of_the_one_it_was_made_for(database: Database) -> None:
    await fill(database)
    identities = Identities(database)
    name, new = "1" * 16, b"n" * 32
    too_late = (b"x" * 32, new, name)

    await identities.write({}, {A: (b"a" * 32, new, name), B: too_late})

    assert ((await row(database, A)).digest, (await row(database, A)).pepper) == (
        new,
        name,
    )
    assert ((await row(database, B)).digest, (await row(database, B)).pepper) == (
        b"b" * 32,
        "0" * 16,
    )
    assert (await row(database, A)).version == 3


async def test_nobody_waits_for_an_administrator(database: Database) -> None:
    if database.dialect == "sqlite":
        return  # writers come one after the other
    await fill(database)
    identities = Identities(database)

    async with database.writing() as administrator:
        await administrator.execute(update(keys).where(keys.c.public_id == A).values(plan="x"))
        async with asyncio.timeout(2):
            await identities.write({A: NOW, B: NOW}, {})

    assert (await row(database, A)).last_used is None
    assert (await row(database, B)).last_used == NOW


async def test_two_that_write_the_same_keys_do_not_hinder_each_other(database: Database) -> None:
    await fill(database)
    identities = Identities(database)
    async with database.writing() as connection:
        rows = [key(f"{number:012}", str(number)) for number in range(300)]
        await connection.execute(insert(keys), rows)
    uses = {each["public_id"]: NOW for each in rows}
    backwards = dict(reversed(uses.items()))

    await asyncio.gather(*(identities.write(each, {}) for each in (uses, backwards) * 4))

    assert (await row(database, "000000000007")).last_used == NOW


async def test_nothing_is_written_of_a_key_that_is_gone(database: Database) -> None:
    await fill(database)
    async with database.writing() as connection:
        await connection.execute(delete(keys))

    await Identities(database).write({A: NOW}, {A: (b"a" * 32, b"n" * 32, "1" * 16)})

    async with database.reading() as connection:
        assert (await connection.execute(select(keys))).all() == []


async def test_without_the_database_nobody_is_unknown(tmp_path: Any) -> None:
    nowhere = Database(f"postgresql://nobody@/none?host={tmp_path}")

    async with nowhere:
        for asked in (
            Identities(nowhere).find([A]),
            Identities(nowhere).peppers(),
            Identities(nowhere).ended({"acme"}, (), (), NOW),
            Identities(nowhere).write({A: NOW}, {}),
        ):
            with pytest.raises(StoreUnavailable):
                await asked


def test_an_identity_does_not_show_its_digest() -> None:
    found = Identity(**dict.fromkeys(Identity.__dataclass_fields__) | {"digest": b"secret"})

    assert "secret" not in repr(found)
