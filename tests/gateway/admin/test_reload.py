"""Who reloads is kept; what could not be done is not."""

import pytest

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import ConfigRefused, Forbidden
from gateway.admin.reload import reload_config
from gateway.contract.errors import StoreUnavailable
from gateway.store.database import Database
from tests.support.administration import OWNER, Office, office_of


async def test_a_reload_leaves_one_row_that_says_what_was_taken_over(office: Office) -> None:
    reloaded = await reload_config(office.administration, OWNER, office.reload)

    assert office.reloads == 1
    [event] = await office.events()
    assert (event["action"], event["kind"], event["actor"]) == ("reload", "config", OWNER.name)
    assert event["object"] == reloaded.sha256[:12]
    assert event["after"] == {"sha256": reloaded.sha256, "needs_restart": ["limits.lease"]}


async def test_a_reload_that_is_refused_leaves_none(office: Office) -> None:
    office.faults = ("gateway.yaml:3: models: is required",)

    with pytest.raises(ConfigRefused, match=r"gateway\.yaml:3: models: is required"):
        await reload_config(office.administration, OWNER, office.reload)

    assert await office.events() == []


@pytest.mark.parametrize("actor", [Actor("v", Role.VIEWER), Actor("a", Role.OWNER, "acme")])
async def test_nobody_reloads_who_may_not_change_what_holds_for_all(
    office: Office, actor: Actor
) -> None:
    with pytest.raises(Forbidden):
        await reload_config(office.administration, actor, office.reload)

    assert office.reloads == 0


async def test_without_the_database_nothing_is_taken_over() -> None:
    async with Database("postgresql://lockgate@127.0.0.1:9/none?sslmode=disable") as nowhere:
        office = office_of(nowhere)
        with pytest.raises(StoreUnavailable):
            await reload_config(office.administration, OWNER, office.reload)

    assert office.reloads == 0
