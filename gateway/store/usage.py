"""
Sums over the ledger: what was used and what it cost, by whatever one asks for.

Provisional rows count like any other: what they say was charged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Label, extract, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from .ledger import Chosen, tag
from .tables import ledger

GROUPS = ("day", "month", "tenant", "project", "key", "model", "target", "outcome")
"""What usage can be grouped by, beside `tag:<name>`."""

_SUMS = (
    "prompt_tokens",
    "cached_tokens",
    "cache_written_tokens",
    "audio_prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "audio_completion_tokens",
    "cost",
)
_SOURCES = ("measured", "counted", "upper_bound")
_MEASURES: Mapping[str, ColumnElement[int]] = {
    "requests": func.count(),
    "tokens": func.sum(ledger.c.prompt_tokens + ledger.c.completion_tokens),
    "money": func.sum(ledger.c.cost),
}
_SCOPES = {"project": ledger.c.project, "key": ledger.c.key}


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """
    Sums of the chosen rows: one for each group, or a single one. Days and months are UTC's.

    Raises:
        ValueError: there is no such group, or one is named twice.
    """

    group_by: tuple[str, ...] = ()
    chosen: Chosen = field(default_factory=Chosen)
    limit: int = 1000
    offset: int = 0

    def __post_init__(self) -> None:
        if len(set(self.group_by)) < len(self.group_by):
            raise ValueError("a group is named twice")
        for name in self.group_by:
            _group(name)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """
    Sums of one group; `group` has the value of each of its parts, None where rows have none.

    `failed` are requests that ended without an answer or in the midst of one. The last three say
    by how many requests the tokens were measured, counted or bounded. `cost` is nano-dollars.
    """

    group: Mapping[str, str | None]
    requests: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    cache_written_tokens: int
    audio_prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    audio_completion_tokens: int
    cost: int
    measured: int
    counted: int
    upper_bound: int


async def usage(connection: AsyncConnection, query: UsageQuery) -> list[UsageRow]:
    """The sums in the order of their groups; without groups exactly one, of zeros if need be."""
    groups = [_group(name).label(f"group_{i}") for i, name in enumerate(query.group_by)]
    statement = (
        select(*groups, *_sums())
        .where(*query.chosen.conditions())
        # By label: PostgreSQL takes two parameters of one value for two different tags.
        .group_by(*(group.name for group in groups))
        .order_by(*(group.nulls_first() for group in groups))
        .limit(query.limit)
        .offset(query.offset)
    )
    found = (await connection.execute(statement)).mappings()
    return [_usage_row(query.group_by, each) for each in found]


async def spent(
    connection: AsyncConnection,
    tenant: str,
    scope: str,
    measure: str,
    start: date,
    *,
    without: str = "",
) -> int:
    """
    What a limit's scope has used since the beginning of a day in UTC: `requests`, `tokens` of
    prompt and completion, or `money` in nano-dollars.

    `scope` is `tenant:<id>`, `project:<id>` or `key:<public id>`, for one model only with
    `/m:<12 hex digits of its SHA-256>`. `without` leaves out one request.

    Raises:
        ValueError: that is no scope of this tenant's, or nothing that is spent.
    """
    owner, _, digest = scope.partition("/m:")
    kind, _, name = owner.partition(":")
    begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
    conditions = [ledger.c.tenant == tenant, ledger.c.at >= begin]
    if kind in _SCOPES:
        conditions.append(_SCOPES[kind] == name)
    elif owner != f"tenant:{tenant}":
        raise ValueError(f"{scope!r} is no scope of {tenant!r}")
    if measure not in _MEASURES:
        raise ValueError(f"{measure!r} is nothing that is spent")
    if without:
        conditions.append(ledger.c.request_id != without)
    statement = (
        select(ledger.c.model, _MEASURES[measure]).where(*conditions).group_by(ledger.c.model)
    )
    found = await connection.execute(statement)
    return sum(int(used) for model, used in found if not digest or _digest(model) == digest)


def _group(name: str) -> ColumnElement[Any]:
    if name == "month":
        return extract("year", ledger.c.day) * 100 + extract("month", ledger.c.day)
    if name.startswith("tag:"):
        return tag(name[4:])
    if name not in GROUPS:
        raise ValueError(f"{name[:80]!r} is nothing to group by; there are {', '.join(GROUPS)}")
    return ledger.c[name]


def _sums() -> list[Label[Any]]:
    source, outcome = ledger.c.usage_source, ledger.c.outcome
    return [
        func.count().label("requests"),
        func.count().filter(outcome.in_(("failed", "cut"))).label("failed"),
        *(func.coalesce(func.sum(ledger.c[name]), 0).label(name) for name in _SUMS),
        *(func.count().filter(source == word).label(word) for word in _SOURCES),
    ]


def _usage_row(group_by: tuple[str, ...], found: Mapping[Any, Any]) -> UsageRow:
    sums = ("requests", "failed", *_SUMS, *_SOURCES)
    return UsageRow(
        group={name: _text(name, found[f"group_{i}"]) for i, name in enumerate(group_by)},
        **{name: int(found[name]) for name in sums},
    )


def _text(name: str, value: Any) -> str | None:
    if name == "month":
        year, month = divmod(int(value), 100)
        return f"{year:04}-{month:02}"
    return None if value is None else str(value)


def _digest(model: str) -> str:
    return sha256(model.encode()).hexdigest()[:12]
