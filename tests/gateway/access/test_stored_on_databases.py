"""Keys of a real database: what is kept of them, and how fast a change holds on all replicas."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise, product
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from gateway.access import (
    SCOPES,
    Access,
    Clocks,
    Holders,
    Key,
    Peppers,
    Scope,
    StoredKeys,
    issue,
)
from gateway.access.stored import OLDEST
from gateway.contract.errors import GatewayError
from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.feed import Feed
from gateway.store.identities import Identities
from gateway.store.migrate import migrate
from gateway.store.tables import keys, metadata, projects, tenants
from tests.support.postgres_server import PostgresServer

OLD, NEW = b"the pepper of yesterday", b"the pepper of tomorrow"
KEPT = {"version": 1, "created": datetime.now(UTC), "updated": datetime.now(UTC)}
SOON = 2.0
"""Seconds: a change holds everywhere within one, where the machine has nothing else to do."""

REAL = Clocks()

numbers = count()


@dataclass
class Replica:
    """What one gateway process has of access."""

    keys: StoredKeys
    access: Access
    revoked: list[Holders] = field(default_factory=list)

    async def answer(self, key: Key, scope: Scope = "inference", client: str = "192.0.2.1") -> str:
        headers = {b"authorization": [b"Bearer " + key.reveal().encode()]}
        try:
            return (await self.access.caller(headers, client, scope)).tenant
        except GatewayError as error:
            return str(error.code)


@asynccontextmanager
async def replica(
    database: Database, *peppers: bytes, clocks: Clocks = REAL
) -> AsyncIterator[Replica]:
    known = Peppers(*(peppers or (OLD,)))
    feed = Feed(database)
    stored = StoredKeys(Identities(database), feed, known, clocks=clocks)
    async with feed, stored:
        one = Replica(stored, Access(stored, known))
        stored.on_revoked(one.revoked.append)
        yield one


async def make(database: Database, peppers: Peppers | None = None, **more: Any) -> Key:
    """A key of tenant `acme`, which has all models and a project `web`."""
    key, public_id, digest, pepper = issue(peppers or Peppers(OLD))
    row = {
        "public_id": public_id,
        "tenant": "acme",
        "name": f"key-{next(numbers)}",
        "digest": digest,
        "pepper": pepper,
        "scopes": list(SCOPES),
        "networks": [],
    }
    async with database.writing() as connection:
        if (
            await connection.execute(select(tenants).where(tenants.c.id == "acme"))
        ).first() is None:
            for name in ("acme", "other"):
                tenant = {"id": name, "plan": "gold", "models": ["*"], **KEPT}
                await connection.execute(insert(tenants), [tenant])
                await connection.execute(insert(projects), [{"tenant": name, "id": "web", **KEPT}])
        await connection.execute(insert(keys), [{**row, **KEPT, **more}])
    return key


async def change(database: Database, kind: str, name: str, *statements: Any) -> None:
    """As administration does it: the change and its audit row in one transaction."""
    async with database.writing() as connection:
        for statement in statements:
            await connection.execute(statement)
        event = Event(
            actor="a test",
            action="update",
            kind=kind,
            object=name,
            tenant="acme",
            before=None,
            after=None,
        )
        await AuditLog.of(b"a secret of the tests").append(connection, event)


async def eventually(says: Callable[[], Any], within: float) -> None:
    """Wait until it is so."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await says():
        assert loop.time() - started < within, "too late"
        await asyncio.sleep(0.02)


# Changes


@pytest.mark.parametrize(
    ("kind", "name", "statement", "answer"),
    [
        ("key", "", lambda id_: delete(keys).where(keys.c.public_id == id_), "invalid_api_key"),
        (
            "key",
            "",
            lambda id_: update(keys).where(keys.c.public_id == id_).values(disabled=True),
            "invalid_api_key",
        ),
        ("project", "web", lambda _: update(projects).values(suspended=True), "tenant_suspended"),
        ("project", "web", lambda _: delete(projects), "invalid_api_key"),
        ("tenant", "acme", lambda _: update(tenants).values(suspended=True), "tenant_suspended"),
        ("tenant", "acme", lambda _: delete(tenants), "invalid_api_key"),
    ],
    ids=["deleted", "disabled", "project off", "no project", "tenant off", "no tenant"],
)
async def test_a_revocation_holds_on_all_replicas_within_a_second(
    database: Database,
    kind: str,
    name: str,
    statement: Callable[[str], Any],
    answer: str,
) -> None:
    key = await make(database, project="web")
    name = name or key.public_id
    async with replica(database) as one, replica(database) as two:
        for each in (one, two):
            assert await each.answer(key) == "acme"

        await change(database, kind, name, statement(key.public_id))

        async def holds() -> bool:
            return {await each.answer(key) for each in (one, two)} == {answer}

        async def is_told() -> bool:
            return bool(one.revoked and two.revoked)

        await eventually(holds, within=SOON)
        await eventually(is_told, within=SOON)
        assert one.revoked[0].include("acme", "web", key.public_id)
        assert not one.revoked[0].include("other", "web", "another key")


async def test_a_change_that_revokes_nothing_holds_too_and_ends_nothing(
    database: Database,
) -> None:
    key = await make(database)
    async with replica(database) as one:
        assert await one.answer(key, "usage:read") == "acme"
        narrowed = update(keys).values(scopes=["inference"])

        await change(database, "key", key.public_id, narrowed)

        async def holds() -> bool:
            return await one.answer(key, "usage:read") == "insufficient_scope"

        await eventually(holds, within=SOON)
        assert await one.answer(key) == "acme"
        assert one.revoked == []


async def test_a_rotated_key_works_until_its_overlap_ends_and_the_new_one_from_the_start(
    database: Database,
) -> None:
    old, new = await make(database), await make(database)
    later = [timedelta()]

    async with replica(database) as one:
        one.access._now = lambda: datetime.now(UTC) + later[0]
        assert await one.answer(old) == "acme"
        rotated = {"expires": datetime.now(UTC) + timedelta(hours=24), "replaced_by": new.public_id}
        theirs = update(keys).where(keys.c.public_id == old.public_id)

        await change(database, "key", old.public_id, theirs.values(rotated))

        async def is_told() -> bool:
            known = one.keys.known(old.public_id)
            return known is None or known.expires is not None

        await eventually(is_told, within=SOON)
        for later[0], answer in (
            (timedelta(0), "acme"),
            (timedelta(hours=23, minutes=59), "acme"),
            (timedelta(hours=24), "invalid_api_key"),
        ):
            assert await one.answer(old) == answer
            assert await one.answer(new) == "acme"


# The pepper


async def test_the_pepper_is_replaced_under_load_and_no_request_fails(database: Database) -> None:
    issued = [await make(database) for _ in range(20)]
    said: list[str] = []

    async def load(*replicas: Replica) -> None:
        for key, each in product(issued, replicas):
            said.append(await each.answer(key))

    # Each step reaches one replica after the other, under requests all the time.
    steps = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]
    for before, after in pairwise(steps):
        async with replica(database, *before) as stays:
            async with replica(database, *before) as leaves:
                await load(stays, leaves)
            async with replica(database, *after) as comes:
                await load(stays, comes)
                await load(stays, comes)
        # Closing writes what is else written once a minute.
        async with replica(database, *after) as one:
            await load(one)

    assert set(said) == {"acme"}
    assert await Identities(database).peppers() == {Peppers(NEW).current.name}


async def test_a_copy_of_everything_that_is_kept_holds_no_key_and_is_none(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issued = [await make(database) for _ in range(20)]
    async with replica(database, NEW, OLD) as one:
        for key in issued:
            assert await one.answer(key) == "acme"
            assert await one.answer(Key(key.public_id, "0" * 32)) == "invalid_api_key"

    dump = caplog.text
    async with database.reading() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                dump += "".join(
                    value.hex() + value.decode("latin-1")
                    if isinstance(value, bytes)
                    else str(value)
                    for value in row
                )

    assert issued[0].public_id in dump
    for key in issued:
        assert key.reveal() not in dump
        assert key.reveal()[16:48] not in dump
        assert key.reveal()[16:48].encode().hex() not in dump
    async with replica(database, b"a thief's own pepper") as thief:
        assert {await thief.answer(key) for key in issued} == {"invalid_api_key"}


async def test_what_is_stored_of_a_key_is_no_credential(database: Database) -> None:
    key = await make(database)
    stored = (await Identities(database).find([key.public_id]))[key.public_id]
    hexed = stored.digest.hex()

    async with replica(database) as one:
        for text in (
            hexed,
            f"{key.public_id}:{hexed}",
            key.public_id,
            stored.pepper,
            Key(key.public_id, hexed[:32]).reveal(),
            Key(key.public_id, hexed[32:]).reveal(),
        ):
            with pytest.raises(GatewayError) as refused:
                await one.access.caller({b"x-api-key": [text.encode()]})
            assert refused.value.status == 401


async def test_a_key_that_is_used_says_when(database: Database) -> None:
    key, unused = await make(database), await make(database)
    before = datetime.now(UTC)

    async with replica(database) as one:
        await one.answer(key)

    async with database.reading() as connection:
        chosen = select(keys.c.public_id, keys.c.last_used, keys.c.version)
        rows = {row.public_id: row for row in await connection.execute(chosen)}
    assert before <= rows[key.public_id].last_used <= datetime.now(UTC)
    assert rows[unused.public_id].last_used is None
    assert rows[key.public_id].version == 1


# What a key may do


async def test_every_combination_of_what_a_key_may_do_is_answered_as_it_should(
    database: Database,
) -> None:
    now = datetime.now(UTC)
    combinations = product(
        (["inference"], ["usage:read"], list(SCOPES)),
        (None, ["chat"], []),
        (None, now + timedelta(days=1), now - timedelta(days=1)),
        ([], ["192.0.2.0/24"], ["198.51.100.0/24"]),
        (False, True),
        ("acme", "suspended"),
    )
    await make(database)
    off = {"id": "suspended", "plan": "gold", "models": ["*"], "suspended": True, **KEPT}
    async with database.writing() as connection:
        await connection.execute(insert(tenants), [off])
    async with replica(database) as one:
        for scopes, models, expires, networks, disabled, tenant in combinations:
            key = await make(
                database,
                scopes=scopes,
                models=models,
                expires=expires,
                networks=networks,
                disabled=disabled,
                tenant=tenant,
            )
            for scope in SCOPES:
                if disabled or (expires is not None and expires < now):
                    right = "invalid_api_key"
                elif tenant == "suspended":
                    right = "tenant_suspended"
                elif networks == ["198.51.100.0/24"]:
                    right = "network_not_allowed"
                elif scope not in scopes:
                    right = "insufficient_scope"
                else:
                    right = "acme"
                assert await one.answer(key, scope) == right
            if right == "acme":
                headers = {b"x-api-key": [key.reveal().encode()]}
                caller = await one.access.caller(headers, "192.0.2.1", scope)
                assert caller.may_use("chat") is (models is None or "chat" in models)
                assert caller.may_use("other") is (models is None)


async def test_a_key_tells_its_own_tenant_whatever_else_is_asked_for(database: Database) -> None:
    mine, theirs = await make(database), await make(database, tenant="other")

    async with replica(database) as one:
        for _ in range(3):
            assert await one.answer(mine) == "acme"
            assert await one.answer(theirs) == "other"
            swapped = Key(mine.public_id, theirs.reveal()[16:48])
            assert await one.answer(swapped) == "invalid_api_key"


# Outages


async def test_a_database_that_is_killed_stops_nobody_for_five_minutes_and_is_missed_then() -> None:
    shift = 0.0
    with PostgresServer() as server:
        url = server.url_of(server.new_database())
        await migrate(url)
        loop = asyncio.get_running_loop()

        def steady() -> float:
            return loop.time() + shift

        async with Database(url, timeout=1.0) as database:
            key, other = await make(database), await make(database)
            async with replica(database, clocks=Clocks(steady)) as one:
                assert await one.answer(key) == "acme"
                await asyncio.to_thread(server.kill)
                assert await one.answer(key) == "acme"
                assert await one.answer(other) == "store_unavailable"
                shift = 70.0
                assert await one.answer(key) == "acme"
                shift = OLDEST + 1
                assert await one.answer(key) == "store_unavailable"
                await asyncio.to_thread(server.start)

                async def is_back() -> bool:
                    return {await one.answer(key), await one.answer(other)} == {"acme"}

                await eventually(is_back, within=10)
