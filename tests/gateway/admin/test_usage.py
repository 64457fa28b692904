from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import NotFound
from gateway.admin.listing import Paging, cursor_of
from gateway.admin.usage import list_ledger, sum_usage
from gateway.contract.errors import InvalidRequest
from gateway.store.ledger import Chosen, insert
from gateway.store.ledger_rows import AttemptRow, Row
from tests.support.administration import START, Office

ANNA = Actor("anna", Role.VIEWER, "acme")
ROW = Row(
    request_id="a",
    at=START,
    tenant="acme",
    project="p",
    key="key000000001",
    operation="chat",
    model="chat",
    target="sim/demo",
    stream=False,
    status=200,
    outcome="succeeded",
    prompt_tokens=10,
    completion_tokens=5,
    cost=1500,
    usage_source="measured",
    tags={"team": "blue"},
    attempts=(AttemptRow("sim/demo", "sim", "demo", 200, cost=1500),),
)
ROWS = (
    ROW,
    replace(
        ROW, request_id="b", at=START + timedelta(days=1), model="embed", tags={}, project=None
    ),
    replace(ROW, request_id="c", tenant="other", cost=7, attempts=()),
)


@pytest.fixture
async def ledger(office: Office) -> Office:
    async with office.database.writing() as connection:
        await insert(connection, ROWS)
    return office


async def test_usage_is_summed_by_whatever_is_asked_for(ledger: Office) -> None:
    async with ledger.view() as view:
        by_tenant = await sum_usage(view, Chosen(), ("tenant",), Paging())
        by_tag = await sum_usage(view, Chosen(tenant="acme"), ("tag:team", "day"), Paging())
        whole = await sum_usage(view, Chosen(), (), Paging())

    sums = [(dict(each.group), each.requests, each.cost_nano_usd) for each in by_tenant.data]
    assert sums == [({"tenant": "acme"}, 2, 3000), ({"tenant": "other"}, 1, 7)]
    assert [dict(each.group) for each in by_tag.data] == [
        {"tag:team": None, "day": "2026-02-01"},
        {"tag:team": "blue", "day": "2026-01-31"},
    ]
    (one,) = whole.data
    assert (one.requests, one.prompt_tokens, one.completion_tokens) == (3, 30, 15)
    assert (one.measured, one.counted, one.upper_bound) == (3, 0, 0)


async def test_sums_come_in_pages(ledger: Office) -> None:
    async with ledger.view() as view:
        first = await sum_usage(view, Chosen(), ("tenant",), Paging(limit=1))
        second = await sum_usage(view, Chosen(), ("tenant",), Paging(limit=1, after=first.next))

    assert [each.group["tenant"] for each in (*first.data, *second.data)] == ["acme", "other"]
    assert second.next is None


@pytest.mark.parametrize("groups", [("nothing",), ("day", "day"), ("tag:",), ('tag:"',)])
async def test_what_can_not_be_grouped_by_is_refused(
    ledger: Office, groups: tuple[str, ...]
) -> None:
    async with ledger.view() as view:
        with pytest.raises(InvalidRequest) as raised:
            await sum_usage(view, Chosen(), groups, Paging())
    assert raised.value.param == "group_by"


async def test_rows_show_the_latest_first_with_their_attempts(ledger: Office) -> None:
    async with ledger.view() as view:
        listing = await list_ledger(view, Chosen(tenant="acme"), Paging())

    assert [each.request_id for each in listing.data] == ["b", "a"]
    row = listing.data[1]
    assert (row.at, row.tenant, row.project, row.key) == (START, "acme", "p", "key000000001")
    assert (row.cost_nano_usd, row.tags) == (1500, {"team": "blue"})
    (attempt,) = row.attempts
    assert (attempt.target, attempt.status, attempt.cost_nano_usd) == ("sim/demo", 200, 1500)


async def test_rows_come_in_pages(ledger: Office) -> None:
    found: list[str] = []
    after = None
    async with ledger.view() as view:
        for _ in ROWS:
            page = await list_ledger(view, Chosen(), Paging(limit=1, after=after))
            found += [each.request_id for each in page.data]
            after = page.next

    assert found == ["b", "c", "a"]
    assert after is None


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        cursor_of("x"),
        cursor_of("-1"),
        cursor_of("9" * 11),
        cursor_of("a", "b"),
        cursor_of("2026-01-31T12:00:00", "b"),
        cursor_of("0001-01-01T00:00:00+14:00", "b"),
        cursor_of("9999-12-31T23:59:59-14:00", "b"),
    ],
)
async def test_a_place_that_is_none_is_refused(ledger: Office, cursor: str) -> None:
    async with ledger.view() as view:
        with pytest.raises(InvalidRequest):
            await sum_usage(view, Chosen(), (), Paging(after=cursor))
        with pytest.raises(InvalidRequest):
            await list_ledger(view, Chosen(), Paging(after=cursor))


async def test_a_tag_that_can_be_none_is_refused(ledger: Office) -> None:
    async with ledger.view() as view:
        with pytest.raises(InvalidRequest) as raised:
            await list_ledger(view, Chosen(tags={'"': "x"}), Paging())
    assert raised.value.param == "tag"


async def test_a_tenants_own_operators_see_its_part_alone(ledger: Office) -> None:
    async with ledger.view(ANNA) as view:
        (one,) = (await sum_usage(view, Chosen(), (), Paging())).data
        assert one.requests == 2
        assert [each.tenant for each in (await list_ledger(view, Chosen(), Paging())).data] == [
            "acme",
            "acme",
        ]
        for attempt in (
            sum_usage(view, Chosen(tenant="other"), (), Paging()),
            list_ledger(view, Chosen(tenant="other"), Paging()),
        ):
            with pytest.raises(NotFound):
                await attempt
