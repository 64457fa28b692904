"""Reports on each kind of database; their options are tried in tests/gateway/cli."""

import io
import json
from typing import Any

import pytest

from gateway.admin import reports
from gateway.admin.desk import Desk, Refused
from gateway.admin.printing import Printer
from gateway.admin.tenants import NewTenant, TenantPatch, create_tenant, update_tenant
from gateway.settings import StartRefused
from tests.support.administration import OWNER, PEPPERS, Office

OPEN: dict[str, Any] = {"since": None, "until": None}


def desk(office: Office, *, as_json: bool = True) -> tuple[Desk, io.StringIO]:
    out = io.StringIO()
    printer = Printer(out, as_json=as_json)
    return Desk(office.administration, OWNER, printer, PEPPERS, office.passwords), out


async def changed(office: Office) -> None:
    async with office.administration.writing(OWNER) as change:
        await create_tenant(change, NewTenant(id="acme", plan="small"))
        await update_tenant(change, "acme", TenantPatch(title="Acme"))


async def test_usage_has_every_page_of_its_groups(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 1)
    to, out = desk(office)
    await reports.sum_usage(to, by=[], csv=False, tags=[], **OPEN)

    [group] = json.loads(out.getvalue())["data"]
    assert (group["requests"], group["cost_nano_usd"]) == (0, 0)


async def test_an_empty_ledger_is_an_empty_list(office: Office) -> None:
    to, out = desk(office)
    await reports.list_ledger(to, limit=5, page=None, tags=[], **OPEN)

    assert json.loads(out.getvalue()) == {"object": "list", "data": [], "next": None}


async def test_changes_are_told_by_the_names_of_what_changed(office: Office) -> None:
    await changed(office)
    to, out = desk(office, as_json=False)
    await reports.list_audit(to, limit=5, page=None, tenant="acme", **OPEN)

    _, latest, first = out.getvalue().splitlines()
    assert (latest.split()[-1], first.split()[-1]) == ("title", "-")


async def test_a_row_that_is_not_as_it_was_is_told(office: Office) -> None:
    await changed(office)
    to, out = desk(office)
    await reports.verify_audit(to, head=None)
    assert json.loads(out.getvalue())["sound"] is True

    to, out = desk(office)
    with pytest.raises(Refused, match="tampered with: row 2"):
        await reports.verify_audit(to, head=f"2:{'a' * 64}")
    verdict = json.loads(out.getvalue())
    assert (verdict["sound"], verdict["bad"]) == (False, 2)


@pytest.mark.parametrize(
    "head", ["2", f"2:{'a' * 63}", f"2:{'g' * 64}", f"{'1' * 5000}:{'a' * 64}"]
)
async def test_a_head_that_is_none_says_nothing_against_the_log(office: Office, head: str) -> None:
    to, _ = desk(office)
    with pytest.raises(StartRefused, match="head: write it like 123:"):
        await reports.verify_audit(to, head=head)


@pytest.mark.parametrize("tag", ["team", ":red", ""])
async def test_a_tag_is_a_name_and_a_value(office: Office, tag: str) -> None:
    to, _ = desk(office)
    with pytest.raises(StartRefused, match="tag: write it like name:value"):
        await reports.list_ledger(to, limit=5, page=None, tags=[tag], **OPEN)
