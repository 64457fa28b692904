import asyncio
import logging
from typing import Any

import pytest
import structlog
from sqlalchemy import insert, select

from gateway.admin.actor import Actor, Role
from gateway.admin.audit import AuditHead, list_events, verify_log
from gateway.admin.errors import Forbidden, NotFound
from gateway.admin.listing import Paging, cursor_of
from gateway.admin.tenants import NewTenant, TenantPatch, create_tenant, update_tenant
from gateway.contract.errors import InvalidRequest
from gateway.store.audit import Head
from gateway.store.database import Database
from gateway.store.tables import audit
from gateway.store.trail import Wanted
from tests.support.administration import START, Office

ANNA = Actor("anna", Role.ADMIN, "acme")


@pytest.fixture
async def log(office: Office) -> Office:
    """Three changes: of acme, of another and of acme again."""
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme"))
        await create_tenant(change, NewTenant(id="other"))
        await update_tenant(change, "acme", TenantPatch(title="Acme"))
    return office


async def test_the_latest_change_comes_first_with_what_was_and_what_is(log: Office) -> None:
    async with log.view() as view:
        listing = await list_events(view, Paging())

    assert [each.seq for each in listing.data] == [3, 2, 1]
    latest = listing.data[0]
    assert (latest.actor, latest.action, latest.kind, latest.id) == (
        "olga",
        "update",
        "tenant",
        "acme",
    )
    assert latest.at == START
    assert latest.before is not None
    assert latest.after is not None
    assert (latest.before["title"], latest.after["title"]) == ("", "Acme")
    assert listing.next is None


async def test_pages_together_have_every_row_once(log: Office) -> None:
    async with log.view() as view:
        first = await list_events(view, Paging(limit=2))
        second = await list_events(view, Paging(limit=2, after=first.next))

    assert [each.seq for each in (*first.data, *second.data)] == [3, 2, 1]
    assert second.next is None


async def test_rows_are_chosen_by_what_they_say(log: Office) -> None:
    async with log.view() as view:
        created = await list_events(view, Paging(), Wanted(action="create", tenant="acme"))

    assert [each.seq for each in created.data] == [1]


@pytest.mark.parametrize("cursor", ["x", cursor_of("x"), cursor_of("-1"), cursor_of("9" * 19)])
async def test_a_place_that_is_none_is_refused(log: Office, cursor: str) -> None:
    async with log.view() as view:
        with pytest.raises(InvalidRequest):
            await list_events(view, Paging(after=cursor))


async def test_a_tenants_own_operators_see_its_rows_alone(log: Office) -> None:
    async with log.view(ANNA) as view:
        assert [each.seq for each in (await list_events(view, Paging())).data] == [3, 1]
        with pytest.raises(NotFound):
            await list_events(view, Paging(), Wanted(tenant="other"))
        with pytest.raises(Forbidden):
            await verify_log(view)


async def test_a_log_that_is_as_it_was_written_is_sound(log: Office) -> None:
    async with log.view() as view:
        verdict = await verify_log(view)

    assert (verdict.sound, verdict.seq, verdict.bad, verdict.reason) == (True, 3, None, None)


async def test_the_first_row_that_is_not_the_logs_is_named(log: Office) -> None:
    async with log.database.writing() as connection:
        copied = (await connection.execute(select(audit).where(audit.c.seq == 3))).one()
        await connection.execute(insert(audit).values({**copied._mapping, "seq": 4}))

    async with log.view() as view:
        verdict = await verify_log(view)
    assert (verdict.sound, verdict.seq, verdict.bad) == (False, 3, 4)
    assert verdict.reason


async def test_a_head_that_was_kept_elsewhere_is_held_against_the_log(log: Office) -> None:
    async with log.view() as view:
        hashes = {each.seq: each.hash for each in (await list_events(view, Paging())).data}
        assert (await verify_log(view, Head(2, hashes[2]))).sound
        assert not (await verify_log(view, Head(2, hashes[3]))).sound
        assert (await verify_log(view, Head(4, hashes[3]))).bad == 4


# The head, told elsewhere

Told = asyncio.Queue[dict[str, Any]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the gateway's own log is told."""
    lines = Told()

    def keep(logger: object, method: str, event: Any) -> str:
        lines.put_nowait({"level": method, **event})
        raise structlog.DropEvent

    monkeypatch.setattr(
        "gateway.admin.audit._log", structlog.wrap_logger(logging.getLogger("test"), [keep])
    )
    return lines


async def test_the_head_is_told_at_once_and_again(log: Office, told: Told) -> None:
    async with AuditHead(log.database, every=0.01):
        lines = [await told.get() for _ in range(3)]

    async with log.view() as view:
        latest = (await list_events(view, Paging(limit=1))).data[0]
    line = {"level": "info", "event": "audit_head", "seq": 3, "hash": latest.hash}
    assert lines == [line] * 3


async def test_the_head_is_told_no_more_once_it_is_left(log: Office, told: Told) -> None:
    async with AuditHead(log.database, every=0.001):
        await told.get()
    lines = told.qsize()
    await asyncio.sleep(0.05)

    assert told.qsize() == lines


async def test_without_the_database_the_head_is_said_to_be_unknown(told: Told) -> None:
    async with (
        Database("postgresql://lockgate@127.0.0.1:9/none?sslmode=disable") as nowhere,
        AuditHead(nowhere, every=0.01),
    ):
        lines = [await told.get() for _ in range(2)]

    assert lines == [{"level": "warning", "event": "audit_head_unknown"}] * 2
