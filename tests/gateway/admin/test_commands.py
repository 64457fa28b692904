"""Commands on each kind of database; their options are tried in tests/gateway/cli."""

import io
import json
from typing import Any

import pytest

from gateway.access import Key
from gateway.admin import commands
from gateway.admin.desk import Desk
from gateway.admin.errors import NotFound
from gateway.admin.printing import Printer
from gateway.settings import StartRefused
from tests.support.administration import OWNER, PASSWORD, PEPPERS, Office


class Clerk:
    """Runs commands and reads what they print."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def __call__(self, name: str, *names: str, **options: Any) -> Any:
        """The JSON document of a command."""
        out = io.StringIO()
        printer = Printer(out, as_json=True)
        office = self._office
        desk = Desk(office.administration, OWNER, printer, PEPPERS, office.passwords)
        await getattr(commands, name)(desk, *names, **options)
        return json.loads(out.getvalue())


@pytest.fixture
async def clerk(office: Office) -> Clerk:
    clerk = Clerk(office)
    await clerk("create_tenant", "acme", plan="small", models=["chat"])
    return clerk


async def test_a_tenant_goes_its_way(clerk: Clerk) -> None:
    assert (await clerk("update_tenant", "acme", suspended=True))["suspended"] is True
    found = await clerk("list_tenants", plan=None, suspended=True)
    assert [each["id"] for each in found["data"]] == ["acme"]
    assert (await clerk("show_tenant", "acme"))["version"] == 2
    assert (await clerk("delete_tenant", "acme"))["deleted"] is True
    with pytest.raises(NotFound):
        await clerk("show_tenant", "acme")


async def test_a_tenant_is_erased(clerk: Clerk) -> None:
    assert await clerk("erase_tenant", "acme") == {
        "object": "erased",
        "tenant": "acme",
        "ledger_rows": 0,
    }
    with pytest.raises(NotFound):
        await clerk("show_tenant", "acme")


async def test_a_project_goes_its_way(clerk: Clerk) -> None:
    made = await clerk("create_project", "acme", "web", plan="small")
    assert (made["tenant"], made["plan"]) == ("acme", "small")
    assert (await clerk("update_project", "acme", "web", plan=""))["plan"] is None
    assert len((await clerk("list_projects", "acme", suspended=None))["data"]) == 1
    assert (await clerk("show_project", "acme", "web"))["version"] == 2
    await clerk("delete_project", "acme", "web")
    assert (await clerk("list_projects", "acme", suspended=None))["data"] == []


async def test_a_key_goes_its_way(clerk: Clerk) -> None:
    made = await clerk("create_key", "acme", "ci", expires="30d")
    assert Key.parse(made["key"]) is not None

    rotated = await clerk("rotate_key", "acme", "ci", overlap="0", expires=None)
    assert (rotated["name"], rotated["expires"]) == ("ci", made["expires"])
    assert (await clerk("show_key", "acme", made["id"]))["replaced_by"] == rotated["id"]
    # By its name it is the new one that is meant.
    assert (await clerk("update_key", "acme", "ci", disabled=True))["id"] == rotated["id"]
    found = await clerk("list_keys", "acme", project=None, disabled=True)
    assert [each["id"] for each in found["data"]] == [rotated["id"]]
    assert (await clerk("delete_key", "acme", "ci"))["id"] == rotated["id"]


async def test_a_key_that_is_not_there_is_not_found(clerk: Clerk) -> None:
    for name, options in (
        ("show_key", {}),
        ("update_key", {"disabled": True}),
        ("delete_key", {}),
        ("rotate_key", {"overlap": None, "expires": None}),
    ):
        with pytest.raises(NotFound):
            await clerk(name, "acme", "ci", **options)


async def test_a_time_that_can_not_be_read_changes_nothing(clerk: Clerk) -> None:
    with pytest.raises(StartRefused, match="expires: 'soon' is no time"):
        await clerk("create_key", "acme", "ci", expires="soon")
    with pytest.raises(StartRefused, match="overlap: 'x' is no length"):
        await clerk("rotate_key", "acme", "ci", overlap="x", expires=None)


async def test_a_plan_goes_its_way(clerk: Clerk) -> None:
    made = await clerk("set_plan", "gold", requests="5/minute", tokens=None)
    assert (made["version"], made["limits"]["requests"]) == (1, "5/minute")
    changed = await clerk("set_plan", "gold", concurrency=3)
    assert (changed["version"], changed["limits"]["requests"]) == (2, None)
    assert (await clerk("show_plan", "gold")) == changed
    assert "gold" in [each["name"] for each in (await clerk("list_plans"))["data"]]
    assert (await clerk("delete_plan", "gold"))["deleted"] is True


async def test_an_operator_goes_its_way(clerk: Clerk, office: Office) -> None:
    await clerk("create_operator", "ada", password=PASSWORD, role="admin", tenant="acme")
    found = await clerk("list_operators", tenant="acme")
    assert [each["name"] for each in found["data"]] == ["ada"]
    assert (await clerk("update_operator", "ada", disabled=True))["disabled"] is True
    assert (await clerk("update_operator", "ada", password=PASSWORD))["version"] == 3
    assert (await clerk("delete_operator", "ada"))["deleted"] is True
