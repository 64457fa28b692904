"""The plans of the moment are those of the file and those of the store."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import delete, insert

from gateway.limits import PlanSettings
from gateway.store.database import Database
from gateway.store.feed import Changed
from gateway.store.migrate import migrate
from gateway.store.tables import plans
from gateway.wiring.plan_book import PlanBook
from tests.support.databases import database as database
from tests.support.databases import database_url as database_url
from tests.support.databases import postgres_server as postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.records import AT
from tests.support.simulator import eventually

PLAN = frozenset({Changed("plan", "gold", None)})
TENANT = frozenset({Changed("tenant", "acme", "acme")})


class Told:
    """What the gateway would use."""

    def __init__(self) -> None:
        self.times = 0
        self.plans: Mapping[str, PlanSettings] = {}

    def __call__(self, plans: Mapping[str, PlanSettings]) -> None:
        self.times += 1
        self.plans = plans

    @property
    def requests(self) -> dict[str, str | None]:
        return {name: plan.requests for name, plan in self.plans.items()}


async def keep(database: Database, name: str, **limits: Any) -> None:
    row = {"name": name, "limits": limits, "version": 1, "created": AT, "updated": AT}
    async with database.writing() as connection:
        await connection.execute(insert(plans).values(row))


async def test_plans_of_the_store_stand_beside_those_of_the_file(database: Database) -> None:
    await keep(database, "gold", requests="100/minute")
    await keep(database, "default", requests="1/minute")
    told = Told()

    async with PlanBook({"default": PlanSettings(requests="10/minute")}, database, told):
        assert told.requests == {"gold": "100/minute", "default": "10/minute"}


async def test_a_change_of_a_plan_is_followed_and_others_are_not(database: Database) -> None:
    told = Told()
    async with PlanBook({}, database, told) as book:
        await keep(database, "gold", requests="100/minute")
        book.heed(TENANT)
        await asyncio.sleep(0.05)
        assert told.times == 1
        book.heed(PLAN)
        await eventually(lambda: told.requests == {"gold": "100/minute"})

        async with database.writing() as connection:
            await connection.execute(delete(plans))
        book.heed(PLAN)
        await eventually(lambda: told.requests == {})


async def test_a_plan_that_can_not_be_read_is_missing_and_told(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await keep(database, "future", colour="gold")
    await keep(database, "gold", requests="100/minute")
    told = Told()

    async with PlanBook({}, database, told):
        assert told.requests == {"gold": "100/minute"}
    assert "plan_unreadable" in capsys.readouterr().out


async def test_a_store_that_is_not_there_yet_is_asked_again() -> None:
    server, told = PostgresServer(), Told()
    try:
        await asyncio.to_thread(server.start)
        url = server.url_of(await asyncio.to_thread(server.new_database))
        await migrate(url)
        async with Database(url) as database:
            await keep(database, "gold", requests="100/minute")
        await asyncio.to_thread(server.kill)

        async with Database(url, timeout=1.0) as database, PlanBook({}, database, told):
            assert told.times == 0
            await asyncio.to_thread(server.start)
            await eventually(lambda: told.requests == {"gold": "100/minute"}, within=20)
    finally:
        await asyncio.to_thread(server.close)
