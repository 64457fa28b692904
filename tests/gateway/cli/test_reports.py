import asyncio
import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.ledger import insert
from gateway.store.ledger_rows import Row
from tests.support.command_line import answered, done, lockgate, refused

NOW = datetime.now(UTC)


def row(number: int, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "request_id": f"01{number:024}",
        "at": NOW - timedelta(days=number),
        "tenant": "acme",
        "project": None,
        "key": "keyofacme000",
        "operation": "chat",
        "model": "chat",
        "target": "sim:demo-model",
        "stream": False,
        "status": 200,
        "outcome": "completed",
        "error": None,
        "prompt_tokens": 10,
        "cached_tokens": 0,
        "cache_written_tokens": 0,
        "audio_prompt_tokens": 0,
        "completion_tokens": 5,
        "reasoning_tokens": 0,
        "audio_completion_tokens": 0,
        "cost": 1_500_000_001,
        "priced": True,
        "usage_source": "measured",
        "provisional": False,
        "duration_ms": 10,
        "first_content_ms": None,
        "client_request_id": None,
        "tags": {"team": "red"},
        "attempts": (),
    }
    return Row(**{**fields, **changes})


@pytest.fixture
def _used(store: Path) -> None:
    """Three requests: today's and yesterday's of one tenant, one of another."""
    done("migrate")

    async def use() -> None:
        async with (
            Database(f"sqlite:///{store / 'state' / 'lockgate.db'}") as database,
            database.writing() as connection,
        ):
            await insert(connection, [row(0), row(1), row(2, tenant="other", tags={})])

    asyncio.run(use())


@pytest.mark.usefixtures("_used")
def test_usage_is_summed_by_what_is_asked_for() -> None:
    heading, *lines = done("usage", "--by", "tenant", "--by", "model").splitlines()

    assert heading.split()[:3] == ["TENANT", "MODEL", "REQUESTS"]
    assert [line.split() for line in lines] == [
        ["acme", "chat", "2", "0", "20", "0", "10", "3.000000002"],
        ["other", "chat", "1", "0", "10", "0", "5", "1.500000001"],
    ]


@pytest.mark.usefixtures("_used")
def test_usage_is_narrowed_by_time_and_tag() -> None:
    since = answered("usage", "--since", "36h", "--by", "tenant")
    assert [(each["group"], each["requests"]) for each in since["data"]] == [
        ({"tenant": "acme"}, 2)
    ]

    tagged = answered("usage", "--tag", "team:red", "--by", "tag:team", "--until", "12h")
    assert [(each["group"], each["cost_nano_usd"]) for each in tagged["data"]] == [
        ({"tag:team": "red"}, 1_500_000_001)
    ]


@pytest.mark.usefixtures("_used")
def test_usage_is_written_as_csv() -> None:
    rows = list(csv.DictReader(StringIO(done("usage", "--by", "tenant", "--csv"))))

    assert [(each["tenant"], each["cost_nano_usd"]) for each in rows] == [
        ("acme", "3000000002"),
        ("other", "1500000001"),
    ]


@pytest.mark.usefixtures("_used")
def test_the_ledger_is_listed_in_pages() -> None:
    page = answered("ledger", "list", "--limit", "2")
    rest = answered("ledger", "list", "--limit", "2", "--page", page["next"])

    found = [each["request_id"] for each in (*page["data"], *rest["data"])]
    assert found == [row(number).request_id for number in range(3)]
    assert rest["next"] is None
    text = done("ledger", "list", "--tenant", "acme", "--limit", "1").splitlines()
    assert text[1].split()[2] == row(0).request_id
    assert "1.500000001" in text[1]
    assert text[-1].startswith("There are more: --page ")


@pytest.mark.usefixtures("store")
def test_the_audit_log_is_listed_and_verified() -> None:
    done("tenants", "create", "acme", "--plan", "free")
    done("tenants", "update", "acme", "--title", "Acme")

    heading, latest, first = done("audit", "list").splitlines()
    assert heading.split()[0] == "SEQ"
    assert latest.split()[-1] == "title"
    assert [line.split()[4:6] for line in (latest, first)] == [
        ["update", "tenant"],
        ["create", "tenant"],
    ]
    [made] = answered("audit", "list", "--action", "create", "--kind", "tenant")["data"]
    assert made["actor"].startswith("cli:")
    assert answered("audit", "list", "--id", "other")["data"] == []

    verdict = answered("audit", "verify")
    assert (verdict["sound"], verdict["seq"]) == (True, 2)
    head = f"{verdict['seq']}:{verdict['hash']}"
    assert f"Its head is {head}" in done("audit", "verify")
    assert "sound" in done("audit", "verify", "--head", head)


@pytest.mark.usefixtures("store")
def test_a_log_that_was_cut_is_told_by_a_head_that_was_kept() -> None:
    done("tenants", "create", "acme", "--plan", "free")

    told = refused("audit", "verify", "--head", f"7:{'a' * 64}", code=1)
    assert "the audit log was tampered with: row " in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["usage", "--by", "colour"], "colour"),
        (["usage", "--since", "soon"], "since: 'soon' is no time"),
        (["usage", "--tag", "team"], "tag: write it like name:value"),
        (["ledger", "list", "--page", "x"], "not the `next`"),
        (["audit", "list", "--until", "soon"], "until: 'soon' is no time"),
        (["audit", "verify", "--head", "x"], "head: write it like"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_makes_no_sense_is_told_in_a_line(arguments: list[str], told: str) -> None:
    assert told in refused(*arguments)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("limit", ["0", "1001"])
def test_a_page_is_bounded(limit: str) -> None:
    for command in (["ledger", "list"], ["audit", "list"]):
        result = lockgate(*command, "--limit", limit)
        assert (result.exit_code, "Usage: " in result.output) == (2, True)
