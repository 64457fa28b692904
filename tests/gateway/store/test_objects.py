from datetime import UTC, datetime, timedelta

from gateway.store.database import Database
from gateway.store.objects import KEYS, PLANS, PROJECTS, TENANTS, plans_of, uses_plan
from gateway.store.tables import tenants

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)


def tenant(name: str, **fields: object) -> dict[str, object]:
    return {"id": name, "title": "", "plan": "default", "models": [], "suspended": False, **fields}


def key(tenant: str, number: int, **fields: object) -> dict[str, object]:
    return {
        "public_id": f"key{number:09}",
        "tenant": tenant,
        "name": f"name-{number % 2}",
        "digest": bytes(32),
        "pepper": "p",
        "scopes": ["inference"],
        "networks": [],
        "disabled": False,
        "replaced_by": "x" if number > 1 else None,
        **fields,
    }


async def test_an_object_is_found_as_it_was_added(database: Database) -> None:
    async with database.writing() as connection:
        added = await TENANTS.add(connection, tenant("acme", models=["chat"]), NOW)
        found = await TENANTS.find(connection, "acme")

    assert found == added
    assert found is not None
    assert (found["version"], found["created"], found["updated"]) == (1, NOW, NOW)
    assert found["models"] == ["chat"]


async def test_a_change_is_another_version(database: Database) -> None:
    async with database.writing() as connection:
        await TENANTS.add(connection, tenant("acme"), NOW)
        await TENANTS.add(connection, tenant("other"), NOW)
        changed = await TENANTS.change(connection, ("acme",), {"title": "Acme"}, LATER)
        other = await TENANTS.find(connection, "other")

    assert (changed["title"], changed["version"]) == ("Acme", 2)
    assert (changed["created"], changed["updated"]) == (NOW, LATER)
    assert other is not None
    assert (other["title"], other["version"]) == ("", 1)


async def test_what_is_removed_takes_along_what_belongs_to_it(database: Database) -> None:
    async with database.writing() as connection:
        await TENANTS.add(connection, tenant("acme"), NOW)
        project = {"tenant": "acme", "id": "p", "title": "", "suspended": False}
        await PROJECTS.add(connection, project, NOW)
        await KEYS.add(connection, key("acme", 1), NOW)
        await KEYS.add(connection, key("acme", 2, project="p"), NOW)

        await PROJECTS.remove(connection, "acme", "p")
        assert await KEYS.find(connection, "key000000001") is not None
        assert await KEYS.find(connection, "key000000002") is None
        await TENANTS.remove(connection, "acme")
        assert await KEYS.find(connection, "key000000001") is None
        assert await TENANTS.find(connection, "acme") is None


async def test_pages_together_have_every_row_once_in_order(database: Database) -> None:
    async with database.writing() as connection:
        for each in ("acme", "other"):
            await TENANTS.add(connection, tenant(each), NOW)
        for number in range(9):
            await KEYS.add(connection, key("acme" if number < 7 else "other", number), NOW)

    pages, after = [], None
    async with database.reading() as connection:
        whole = await KEYS.page(connection)
        while rows := await KEYS.page(connection, after=after, limit=2):
            pages.append(rows)
            after = KEYS.place(rows[-1])

    assert [len(page) for page in pages] == [2, 2, 2, 2, 1]
    assert [row for page in pages for row in page] == list(whole)
    places = [(row["tenant"], row["name"], row["public_id"]) for row in whole]
    assert places == sorted(places)
    assert len(set(places)) == 9


async def test_a_page_has_what_meets_the_conditions(database: Database) -> None:
    async with database.writing() as connection:
        for name in ("a", "b", "c"):
            await TENANTS.add(connection, tenant(name, suspended=name == "b"), NOW)
        suspended = await TENANTS.page(connection, tenants.c.suspended)
        others = await TENANTS.page(connection, ~tenants.c.suspended, limit=5)

    assert [row["id"] for row in suspended] == ["b"]
    assert [row["id"] for row in others] == ["a", "c"]


async def test_a_plan_is_held_by_tenants_projects_and_keys(database: Database) -> None:
    async with database.writing() as connection:
        await PLANS.add(connection, {"name": "unused", "limits": {}}, NOW)
        await TENANTS.add(connection, tenant("acme", plan="of-tenant"), NOW)
        await TENANTS.add(connection, tenant("other", plan="of-other"), NOW)
        project = {"tenant": "acme", "id": "p", "title": "", "suspended": False}
        await PROJECTS.add(connection, {**project, "plan": "of-project"}, NOW)
        await KEYS.add(connection, key("acme", 1, plan="of-key"), NOW)
        await KEYS.add(connection, key("acme", 2), NOW)

        assert await plans_of(connection, "acme") == {"of-tenant", "of-project", "of-key"}
        assert await plans_of(connection, "other") == {"of-other"}
        assert await plans_of(connection, "nobody") == set()
        for name in ("of-tenant", "of-project", "of-key", "of-other"):
            assert await uses_plan(connection, name)
        assert not await uses_plan(connection, "unused")
