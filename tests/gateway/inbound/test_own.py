"""Callers see their own limits and their own usage, and nobody else's."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateway.access import Access, Caller, ConfiguredKeys, Peppers
from gateway.inbound.api import create_api
from gateway.inbound.gates import CallerGate
from gateway.inbound.own import MOST, own_router
from gateway.limits import Limit, Standing
from gateway.limits.model import AtOnce, Calendar, Sliding
from gateway.store.usage import UsageQuery, UsageRow
from tests.support.application import KEY, UNKNOWN_KEY, bearer, client, configured

ROW = UsageRow(
    group={"day": "2026-03-01"},
    requests=3,
    failed=1,
    prompt_tokens=30,
    cached_tokens=4,
    cache_written_tokens=0,
    audio_prompt_tokens=0,
    completion_tokens=12,
    reasoning_tokens=5,
    audio_completion_tokens=0,
    cost=1_500,
    measured=3,
    counted=0,
    upper_bound=0,
)
MINUTE = Sliding(bucket_ms=1000, buckets=60)
STANDINGS = [
    (None, Standing(Limit("tenant:wide", "requests", 600, MINUTE), 598, 61.0)),
    ("chat", Standing(Limit("tenant:wide/m:0123456789ab", "tokens", 100, MINUTE), 7, 61.0)),
    (None, Standing(Limit("key:x", "money", 20_000_000_000, Calendar("month")), 5, 86400.0)),
    (None, Standing(Limit("project:p", "concurrency", 5, AtOnce()), 4, 0.0)),
]


class Desk:
    """What the routes ask, and what they were asked."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.queries: list[UsageQuery] = []
        self.rows = [ROW]

    async def standings(self, caller: Caller) -> list[tuple[str | None, Standing]]:
        self.callers.append(caller)
        return STANDINGS

    async def usages(self, query: UsageQuery) -> list[UsageRow]:
        self.queries.append(query)
        return self.rows[: query.limit]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def api(desk: Desk) -> Any:
    keys = ConfiguredKeys(configured().tenants, b"pepper")
    gate = CallerGate(Access(keys, Peppers(b"pepper")), scope="usage:read")
    return create_api([own_router(gate, desk.standings, desk.usages)], docs=True)


async def ask(api: Any, path: str, key: str = KEY) -> httpx.Response:
    async with client(api, key=None) as http:
        return await http.get(path, headers=bearer(key))


async def test_limits_are_shown_level_by_level(api: Any, desk: Desk) -> None:
    answer = await ask(api, "/v1/limits")

    assert answer.status_code == 200
    shown = answer.json()["data"]
    assert [(each["scope"], each["model"], each["unit"], each["per"]) for each in shown] == [
        ("tenant", None, "requests", "60 s"),
        ("tenant", "chat", "tokens", "60 s"),
        ("key", None, "nano_usd", "month"),
        ("project", None, "requests", "at once"),
    ]
    assert [(each["limit"], each["remaining"]) for each in shown][2] == (20_000_000_000, 5)
    assert [caller.tenant for caller in desk.callers] == ["wide"]


async def test_usage_is_that_of_the_key_that_asks_whatever_it_asks_for(
    api: Any, desk: Desk
) -> None:
    path = "/v1/usage?since=2026-03-01&until=2026-03-31&group_by=day&group_by=model&tenant=other"
    answer = await ask(api, path)

    assert answer.status_code == 200
    [query] = desk.queries
    assert (query.chosen.tenant, query.chosen.key) == ("wide", KEY[3:15])
    assert query.group_by == ("day", "model")
    assert query.chosen.since == datetime(2026, 3, 1, tzinfo=UTC)
    assert query.chosen.until == datetime(2026, 4, 1, tzinfo=UTC)
    [row] = answer.json()["data"]
    assert row["day"] == "2026-03-01"
    assert (row["requests"], row["prompt_tokens"], row["cost_nano_usd"]) == (3, 30, 1500)


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-03-02&until=2026-03-01",
        "since=2020-01-01&until=2026-01-01",
        "until=9999-12-31",
        "since=yesterday",
        "group_by=tenant",
        "group_by=day&group_by=day&group_by=day&group_by=day",
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(api: Any, desk: Desk, query: str) -> None:
    answer = await ask(api, f"/v1/usage?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]["param"]
    assert desk.queries == []


@pytest.mark.parametrize(("groups", "status"), [(MOST, 200), (MOST + 1, 400)])
async def test_usage_is_told_whole_or_refused(
    api: Any, desk: Desk, groups: int, status: int
) -> None:
    desk.rows = [ROW] * groups

    answer = await ask(api, "/v1/usage?group_by=day&group_by=model")

    assert answer.status_code == status
    if status == 200:
        assert len(answer.json()["data"]) == groups
    else:
        assert answer.json()["error"]["param"] == "since"


@pytest.mark.parametrize("path", ["/v1/limits", "/v1/usage"])
async def test_only_a_valid_key_is_told(api: Any, path: str) -> None:
    assert (await ask(api, path, UNKNOWN_KEY)).status_code == 401
