import csv
from io import StringIO

import httpx
import pytest

from tests.support.administration import Office
from tests.support.world import KEYS, World

USAGE, LEDGER = "/admin/v1/usage", "/admin/v1/ledger"


@pytest.fixture
async def world(office: Office) -> World:
    made = World(office)
    await made.make()
    return made


async def asked(world: World, path: str, **headers: str) -> httpx.Response:
    async with world.office.client() as http:
        return await http.get(path, headers=headers)


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(answer.text, newline="")))


async def test_usage_is_summed_by_day_unless_told_otherwise(world: World) -> None:
    by_day = (await asked(world, USAGE)).json()
    by_two = (await asked(world, f"{USAGE}?group_by=tenant&group_by=tag:team")).json()

    assert [each["group"] for each in by_day["data"]] == [{"day": "2026-01-31"}]
    assert by_day["data"][0]["requests"] == 2
    assert [each["group"] for each in by_two["data"]] == [
        {"tenant": "acme", "tag:team": "team-acme"},
        {"tenant": "other", "tag:team": "team-other"},
    ]


COUNTS = (
    ("tenant=acme", 1),
    ("tenant=acme&project=p-other", 0),
    (f"key={KEYS['other'].public_id}", 1),
    ("model=chat&outcome=succeeded", 2),
    ("target=nothing", 0),
    ("tag=team:team-acme", 1),
    ("tag=team:team-acme&tag=other:x", 0),
    ("since=2026-01-31T12:00:00Z&until=2026-01-31T12:00:01Z", 2),
    ("since=2026-01-31T12:00:01Z", 0),
)


@pytest.mark.parametrize("path", [USAGE, LEDGER])
async def test_requests_are_chosen_by_what_they_were(world: World, path: str) -> None:
    for query, count in COUNTS:
        data = (await asked(world, f"{path}?{query}")).json()["data"]
        assert sum(each.get("requests", 1) for each in data) == count, query


REFUSED = (
    ("tenant=A", "tenant"),
    ("key=x", "key"),
    ("model=", "model"),
    ("tag=x", "tag.0"),
    ("tag=a:1&tag=a:2", "tag"),
    ("tag=%22:x", "tag"),
    ("tag=" + "&tag=".join(f"t{n}:x" for n in range(9)), "tag"),
    ("since=yesterday", "since"),
    ("limit=0", "limit"),
    ("limit=10001", "limit"),
    ("after=x", "after"),
    ("format=xml", "format"),
    ("tennant=acme", "tennant"),
)


@pytest.mark.parametrize("path", [USAGE, LEDGER])
async def test_what_can_not_be_asked_for_is_refused_by_its_name(world: World, path: str) -> None:
    for query, param in REFUSED:
        answer = await asked(world, f"{path}?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), query


async def test_groups_that_are_none_are_refused(world: World) -> None:
    for query in ("group_by=x", "group_by=tag:", "group_by=day&group_by=day", "group_by=tag:%22"):
        assert (await asked(world, f"{USAGE}?{query}")).status_code == 400


async def test_sums_come_as_csv_where_that_is_asked_for(world: World) -> None:
    by_query = await asked(world, f"{USAGE}?group_by=tenant&format=csv")
    by_header = await asked(world, f"{USAGE}?group_by=tenant", accept="text/csv")
    as_json = await asked(world, f"{USAGE}?group_by=tenant&format=json", accept="text/csv")

    assert rows(by_query) == rows(by_header)
    assert [(each["tenant"], each["requests"]) for each in rows(by_query)] == [
        ("acme", "1"),
        ("other", "1"),
    ]
    assert as_json.headers["content-type"] == "application/json"


async def test_the_ledgers_rows_come_as_csv_where_that_is_asked_for(world: World) -> None:
    found = rows(await asked(world, LEDGER, accept="text/csv"))

    assert {each["request_id"] for each in found} == {"request-acme", "request-other"}
    assert found[0]["at"] == "2026-01-31T12:00:00+00:00"
    assert (found[0]["attempts"], found[0]["stream"]) == ("0", "false")
    assert found[0]["tags"].startswith("team=team-")


async def test_a_page_links_to_the_next_one(world: World) -> None:
    for path in (f"{USAGE}?group_by=tenant", f"{LEDGER}?model=chat"):
        for format_ in ("json", "csv"):
            first = await asked(world, f"{path}&limit=1&format={format_}")
            second = await asked(world, str(first.links["next"]["url"]))

            assert first.status_code == second.status_code == 200
            assert first.text != second.text
            assert "next" not in second.links
            if format_ == "json":
                assert first.json()["next"] in str(first.links["next"]["url"])
