import pytest
from sqlalchemy import select

from gateway.admin.actor import Actor, Role
from gateway.admin.erase import Erasure, erase_tenant
from gateway.admin.errors import Forbidden, ReadOnly
from gateway.admin.tenants import delete_tenant
from gateway.contract.errors import InvalidRequest
from gateway.store import tables
from tests.support.administration import Office
from tests.support.world import World


@pytest.fixture
async def world(office: Office) -> World:
    made = World(office)
    await made.make()
    return made


async def dumped(world: World, *, audit: bool) -> str:
    """All that the database has, with or without its audit log."""
    found = []
    async with world.office.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            if audit or table.name != "audit":
                found += (await connection.execute(select(table))).all()
    return str(found)


async def test_nothing_is_left_of_a_tenant_but_what_it_cost_and_who_administered_it(
    world: World,
) -> None:
    async with world.office.change() as change:
        erased = await erase_tenant(change, "other", Erasure(confirm="other"))

    assert (erased.tenant, erased.ledger_rows) == ("other", 1)
    left = await dumped(world, audit=False)
    for gone in ("other Inc.", "of other", "ci-other", "otto-other", "team-other"):
        assert gone not in left
    assert "request-other" in left
    for stays in ("acme Inc.", "of acme", "ci-acme", "team-acme"):
        assert stays in left
    event = (await world.office.events())[-1]
    assert (event["action"], event["object"]) == ("erase", "other")
    assert (event["before"], event["after"]) == (None, {"ledger_rows": 1})


async def test_what_a_deleted_tenant_has_left_behind_is_erased_as_well(world: World) -> None:
    async with world.office.change() as change:
        await delete_tenant(change, "other")
        again = [await erase_tenant(change, "other", Erasure(confirm="other")) for _ in range(2)]

    assert [each.ledger_rows for each in again] == [1, 0]
    assert "team-other" not in await dumped(world, audit=True)


async def test_a_tenant_is_named_twice(world: World) -> None:
    async with world.office.change() as change:
        with pytest.raises(InvalidRequest) as raised:
            await erase_tenant(change, "other", Erasure(confirm="acme"))
    assert raised.value.param == "confirm"


async def test_a_tenant_of_the_file_goes_from_the_file_first(world: World) -> None:
    async with world.office.change() as change:
        with pytest.raises(ReadOnly):
            await erase_tenant(change, "written", Erasure(confirm="written"))


@pytest.mark.parametrize("actor", [Actor("adam", Role.ADMIN), Actor("o", Role.OWNER, "other")])
async def test_only_owners_erase(world: World, actor: Actor) -> None:
    async with world.office.change(actor) as change:
        with pytest.raises(Forbidden):
            await erase_tenant(change, "other", Erasure(confirm="other"))
