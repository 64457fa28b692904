"""Sums over the ledger, by whatever one asks for, on both databases."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from random import Random

import pytest

from gateway.store.database import Database
from gateway.store.ledger import Chosen, insert
from gateway.store.ledger_rows import Row
from gateway.store.usage import GROUPS, UsageQuery, UsageRow, spent, usage
from tests.support.ledger_rows import AT, provisional, request_id, row

TOKENS = ("prompt_tokens", "cached_tokens", "cache_written_tokens", "audio_prompt_tokens",
          "completion_tokens", "reasoning_tokens", "audio_completion_tokens", "cost")  # fmt: skip


def made(seed: int = 1, count: int = 300) -> list[Row]:
    """Rows of two tenants over two months."""
    dice = Random(seed)
    return [
        row(
            request_id=request_id(n),
            at=datetime(2026, 1, 30, tzinfo=UTC) + timedelta(hours=dice.randrange(96)),
            tenant=dice.choice(["acme", "other"]),
            project=dice.choice([None, "web", "batch"]),
            key=dice.choice(["k" * 12, "l" * 12]),
            model=dice.choice(["chat-small", "chat-large"]),
            target=dice.choice(["a/x", "b/y"]),
            outcome=dice.choice(["ok", "refused", "failed", "cut", "hung_up"]),
            usage_source=dice.choice(["measured", "counted", "upper_bound"]),
            tags=dice.choice([{}, {"team": "x"}, {"team": "y", "job": "1"}]),
            provisional=dice.random() < 0.1,
            attempts=(),
            **{name: dice.randrange(1000) for name in TOKENS},
        )
        for n in range(count)
    ]


def value(each: Row, group: str) -> str | None:
    match group:
        case "day":
            return each.day.isoformat()
        case "month":
            return each.day.isoformat()[:7]
        case _ if group.startswith("tag:"):
            return each.tags.get(group[4:])
        case _:
            found: str | None = getattr(each, group)
            return found


def summed(
    made: Iterable[Row], group_by: tuple[str, ...]
) -> dict[tuple[str | None, ...], Counter[str]]:
    sums: dict[tuple[str | None, ...], Counter[str]] = {}
    for each in made:
        sum_ = sums.setdefault(tuple(value(each, group) for group in group_by), Counter())
        sum_["requests"] += 1
        sum_["failed"] += each.outcome in {"failed", "cut"}
        sum_[each.usage_source] += 1
        for name in TOKENS:
            sum_[name] += getattr(each, name)
    return sums


async def asked(database: Database, *group_by: str, **more: object) -> list[UsageRow]:
    async with database.reading() as connection:
        return await usage(connection, UsageQuery(group_by, **more))  # type: ignore[arg-type]


async def keep(database: Database, *rows: Row) -> None:
    async with database.writing() as connection:
        await insert(connection, rows)


@pytest.mark.parametrize(
    "group_by",
    [(), *((each,) for each in GROUPS), ("tag:team",), ("day", "tenant", "model"),
     ("tag:job", "month", "tag:team", "project")],
    ids=str,
)  # fmt: skip
async def test_sums_are_those_of_the_rows(group_by: tuple[str, ...], database: Database) -> None:
    kept = made()
    await keep(database, *kept)

    found = await asked(database, *group_by)
    expected = summed(kept, group_by)
    assert [tuple(each.group.values()) for each in found] == sorted(
        expected, key=lambda group: [(part is not None, part or "") for part in group]
    )
    for each in found:
        sums = {name: sum_ for name, sum_ in asdict(each).items() if name != "group"}
        assert list(each.group) == list(group_by)
        assert sums == {name: expected[tuple(each.group.values())][name] for name in sums}


async def test_nothing_sums_up_to_one_row_of_zeros(database: Database) -> None:
    [nothing] = await asked(database)
    assert nothing.requests == nothing.cost == nothing.measured == 0
    assert await asked(database, "day") == []


async def test_only_what_was_chosen_is_summed(database: Database) -> None:
    kept = made()
    await keep(database, *kept)

    since, until = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    chosen = Chosen(tenant="acme", tags={"team": "x"}, since=since, until=until)
    [found] = await asked(database, chosen=chosen)
    expected = [each for each in kept if each.tenant == "acme" and each.tags.get("team") == "x"
                and since <= each.at < until]  # fmt: skip
    assert 0 < found.requests == len(expected) < len(kept)
    assert found.cost == sum(each.cost for each in expected)


async def test_groups_come_in_pages(database: Database) -> None:
    await keep(database, *made())
    whole = await asked(database, "day", "tag:team")

    pages = [await asked(database, "day", "tag:team", limit=5, offset=n) for n in range(0, 20, 5)]
    assert [each for page in pages for each in page] == whole


async def test_sums_pass_32_bits(database: Database) -> None:
    await keep(
        database,
        *(row(request_id=request_id(n), cost=2**52, prompt_tokens=2**40) for n in range(9)),
    )

    [found] = await asked(database)
    assert (found.cost, found.prompt_tokens) == (9 * 2**52, 9 * 2**40)


@pytest.mark.parametrize(
    "group_by", [("colour",), ("tag:",), ('tag:a"b',), ("day", "day"), ("request_id",), ("",)]
)
def test_what_can_not_be_grouped_by_is_refused(group_by: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"group|tag"):
        UsageQuery(group_by)


def of_model(scope: str, model: str) -> str:
    return f"{scope}/m:{sha256(model.encode()).hexdigest()[:12]}"


@pytest.mark.parametrize(
    ("scope", "numbers"),
    [
        ("tenant:acme", {1, 2, 3, 4}),
        ("project:web", {2, 4}),
        ("key:kkkkkkkkkkkk", {3, 4}),
        (of_model("tenant:acme", "chat-large"), {4}),
        (of_model("project:web", "chat-small"), {2}),
        (of_model("key:kkkkkkkkkkkk", "nobody's"), set()),
        ("project:nobodys", set()),
    ],
    ids=str,
)
async def test_what_a_scope_has_spent_is_what_its_rows_say(
    scope: str, numbers: set[int], database: Database
) -> None:
    key = "k" * 12
    kept = {
        1: row(request_id=request_id(1)),
        2: row(request_id=request_id(2), project="web", cost=2),
        3: row(request_id=request_id(3), key=key, cost=3, outcome="failed"),
        4: provisional(
            request_id=request_id(4), key=key, project="web", model="chat-large", cost=4
        ),
        # Another tenant's, with the same names, and another day's.
        5: row(request_id=request_id(5), tenant="other", project="web", key=key),
        6: row(request_id=request_id(6), project="web", key=key, at=AT - timedelta(days=1)),
    }
    await keep(database, *kept.values())

    expected = [kept[n] for n in numbers]
    tokens = sum(each.prompt_tokens + each.completion_tokens for each in expected)
    money = sum(each.cost for each in expected)
    async with database.reading() as connection:
        for measure, amount in (("requests", len(expected)), ("tokens", tokens), ("money", money)):
            assert await spent(connection, "acme", scope, measure, AT.date()) == amount


async def test_what_was_spent_since_a_day_begins_with_its_midnight(database: Database) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    await keep(database, row(request_id="a", at=midnight, cost=5),
               row(request_id="b", at=midnight - timedelta(microseconds=1), cost=7))  # fmt: skip

    async with database.reading() as connection:
        assert await spent(connection, "acme", "tenant:acme", "money", date(2026, 3, 1)) == 5
        assert await spent(connection, "acme", "tenant:acme", "money", date(2026, 2, 28)) == 12


async def test_one_request_can_be_left_out_of_what_was_spent(database: Database) -> None:
    await keep(database, row(request_id="a", cost=5), row(request_id="b", cost=7))

    async with database.reading() as connection:
        left = await spent(connection, "acme", "tenant:acme", "money", AT.date(), without="a")
    assert left == 7


@pytest.mark.parametrize(
    ("scope", "measure"),
    [("tenant:other", "money"), ("plan:x", "money"), ("", "money"), ("tenant:acme", "concurrency")],
)
async def test_what_is_no_scope_of_the_tenants_has_spent_nothing_to_tell(
    scope: str, measure: str, database: Database
) -> None:
    async with database.reading() as connection:
        with pytest.raises(ValueError, match="is no"):
            await spent(connection, "acme", scope, measure, AT.date())
