import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.admin.actor import Actor, Role
from gateway.admin.administration import Administration
from gateway.admin.errors import Forbidden, NotFound
from gateway.admin.tenants import NewTenant, create_tenant, list_tenants
from gateway.contract.errors import StoreUnavailable
from gateway.store.audit import AuditLog
from gateway.store.database import Database
from tests.support.administration import CONFIGURED, OWNER, START, Clock, Office


async def test_a_change_holds_together_or_not_at_all(office: Office) -> None:
    async def fail_at_the_end() -> None:
        async with office.change() as change:
            await create_tenant(change, NewTenant(id="acme"))
            await create_tenant(change, NewTenant(id="other"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_at_the_end()

    async with office.view() as view:
        assert [each.id for each in (await list_tenants(view)).data] == ["written"]
    assert await office.events() == []


async def test_several_operations_may_be_one_change(office: Office) -> None:
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme"))
        await create_tenant(change, NewTenant(id="other"))

    events = await office.events()
    assert [(each["seq"], each["object"]) for each in events] == [(1, "acme"), (2, "other")]
    async with office.view() as view:
        assert (await office.audit.verify(view.connection)).bad is None


async def test_an_audit_row_says_who_did_what_and_when(office: Office) -> None:
    async with office.change() as change:
        await change.record("create", "key", "k", tenant="acme", before={"a": 1}, after={"a": 2})

    (event,) = await office.events()
    assert (event["actor"], event["action"], event["kind"]) == (OWNER.name, "create", "key")
    assert (event["object"], event["tenant"], event["at"]) == ("k", "acme", START)
    assert (event["before"], event["after"]) == ({"a": 1}, {"a": 2})


async def test_changes_come_one_after_the_other(office: Office) -> None:
    inside, most = 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with office.change():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(5)))
    assert most == 1


async def test_a_viewer_changes_nothing(office: Office) -> None:
    with pytest.raises(Forbidden):
        async with office.change(Actor("vera", Role.VIEWER)):
            pytest.fail("it was let in")


async def test_a_view_does_not_write(office: Office) -> None:
    with pytest.raises((SQLAlchemyError, StoreUnavailable)):
        async with office.view() as view:
            await view.connection.execute(text("DELETE FROM tenants"))


async def test_an_actor_is_held_to_its_tenant(office: Office) -> None:
    async with office.view(Actor("anna", Role.VIEWER, "acme")) as view:
        assert view.bound(None) == view.bound("acme") == "acme"
        view.seen("acme", "key")
        for look in (lambda: view.bound("other"), lambda: view.seen("other", "tenant")):
            with pytest.raises(NotFound):
                look()


async def test_an_actor_without_a_tenant_is_held_to_none(office: Office) -> None:
    async with office.view() as view:
        assert view.bound(None) is None
        assert view.bound("acme") == "acme"
        view.seen("acme", "key")


async def test_without_the_database_neither_opens() -> None:
    async with Database("postgresql://lockgate@127.0.0.1:9/none?sslmode=disable") as nowhere:
        log = AuditLog.of(b"a secret")
        closed = Administration(nowhere, log, configured=lambda: CONFIGURED, now=Clock())
        for open_ in (closed.reading, closed.writing):
            with pytest.raises(StoreUnavailable):
                async with open_(OWNER):
                    pytest.fail("it was opened")


async def test_only_what_was_committed_is_told_of(database: Database) -> None:
    told: list[int] = []
    administration = Administration(
        database,
        AuditLog.of(b"a secret of the test's own"),
        configured=lambda: CONFIGURED,
        now=lambda: START,
        committed=lambda: told.append(1),
    )

    with pytest.raises(NotFound):
        async with administration.writing(OWNER):
            raise NotFound("tenant")
    assert told == []
    async with administration.writing(OWNER) as change:
        await create_tenant(change, NewTenant(id="acme"))
        assert told == []
    assert told == [1]
