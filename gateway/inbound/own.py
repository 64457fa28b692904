"""
What callers may see of themselves: how their limits stand, and what their key has used.

Both answer for the key that asks. Its tenant's and its project's limits are shown too, since they
bound it; what other keys have used is not.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from ..access import Caller
from ..contract.errors import InvalidRequest
from ..limits import Standing
from ..store.ledger import Chosen
from ..store.usage import UsageQuery, UsageRow
from .gates import CallerGate

LONGEST = timedelta(days=400)
"""Of one question about usage."""
MOST = 10_000
"""Groups of one answer, of which there are no pages."""

Standings = Callable[[Caller], Awaitable[Sequence[tuple[str | None, Standing]]]]
"""How all limits of a caller stand, each with the public model that it is for, None for any."""
Usages = Callable[[UsageQuery], Awaitable[Sequence[UsageRow]]]
Group = Literal["day", "month", "model"]


_LIMIT: JsonDict = {
    "scope": "tenant",
    "model": None,
    "measure": "requests",
    "unit": "requests",
    "per": "60 s",
    "limit": 600,
    "remaining": 598,
    "reset_seconds": 61.0,
}
_USAGE: JsonDict = {
    "day": "2026-03-01",
    "requests": 3,
    "failed": 0,
    "prompt_tokens": 57,
    "cached_tokens": 0,
    "completion_tokens": 120,
    "reasoning_tokens": 0,
    "cost_nano_usd": 14_850,
}


class OwnLimit(BaseModel):
    """One limit. Money is in billionths of a US dollar, `nano_usd`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LIMIT]})

    scope: Literal["tenant", "project", "key"]
    model: str | None
    measure: Literal["requests", "tokens", "concurrency", "money"]
    unit: Literal["requests", "tokens", "nano_usd"]
    per: str
    limit: int
    remaining: int
    reset_seconds: float


class OwnLimits(BaseModel):
    """All limits that bound the key."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object": "list", "data": [_LIMIT]}]}
    )

    object: Literal["list"] = "list"
    data: list[OwnLimit]


class OwnUsage(BaseModel):
    """What the key has used, of one group. `cost_nano_usd` is billionths of a US dollar."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USAGE]})

    day: str | None = None
    month: str | None = None
    model: str | None = None
    requests: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano_usd: int


class OwnUsages(BaseModel):
    """What the key has used, group by group, from `since` until before `until`, in UTC."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "since": "2026-03-01T00:00:00Z",
                    "until": "2026-04-01T00:00:00Z",
                    "data": [_USAGE],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    since: datetime
    until: datetime
    data: list[OwnUsage]


def own_router(gate: CallerGate, standings: Standings, usages: Usages) -> APIRouter:
    """The two routes. `gate` lets keys pass that may read usage."""
    router = APIRouter(tags=["own"])

    @router.get("/v1/limits", summary="Show how the key's limits stand")
    async def own_limits(caller: Annotated[Caller, Depends(gate)]) -> OwnLimits:
        return OwnLimits(data=[_limit(model, each) for model, each in await standings(caller)])

    @router.get("/v1/usage", summary="Show what the key has used", response_model_exclude_none=True)
    async def own_usage(
        caller: Annotated[Caller, Depends(gate)],
        since: Annotated[date | None, Query(description="First day, in UTC.")] = None,
        until: Annotated[date | None, Query(description="Last day, in UTC.")] = None,
        group_by: Annotated[Sequence[Group], Query(max_length=3)] = ("day",),
    ) -> OwnUsages:
        first, end = _period(since, until, datetime.now(UTC).date())
        chosen = Chosen(tenant=caller.tenant, key=caller.key_id, since=first, until=end)
        groups = tuple(dict.fromkeys(group_by))
        rows = await usages(UsageQuery(group_by=groups, chosen=chosen, limit=MOST + 1))
        if len(rows) > MOST:
            raise InvalidRequest(
                f"These are more than {MOST} groups: ask for fewer days or groups.", param="since"
            )
        return OwnUsages(since=first, until=end, data=[_usage(row) for row in rows])

    return router


def _period(since: date | None, until: date | None, today: date) -> tuple[datetime, datetime]:
    """From the first instant to the one after the last; the current month where none is named."""
    last = until or today
    first = since or last.replace(day=1)
    if not timedelta(0) <= last - first <= LONGEST or last == date.max:
        raise InvalidRequest(
            f"since must not be after until, nor more than {LONGEST.days} days before it.",
            param="since",
        )
    return _midnight(first), _midnight(last + timedelta(days=1))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _limit(model: str | None, standing: Standing) -> OwnLimit:
    limit = standing.limit
    unit: Literal["requests", "tokens", "nano_usd"] = "requests"
    if limit.measure == "tokens":
        unit = "tokens"
    elif limit.measure == "money":
        unit = "nano_usd"
    return OwnLimit.model_validate(
        {
            "scope": limit.scope.partition(":")[0],
            "model": model,
            "measure": limit.measure,
            "unit": unit,
            "per": str(limit.window).removeprefix("per "),
            "limit": limit.amount,
            "remaining": standing.remaining,
            "reset_seconds": round(standing.reset, 3),
        }
    )


def _usage(row: UsageRow) -> OwnUsage:
    return OwnUsage(
        day=row.group.get("day"),
        month=row.group.get("month"),
        model=row.group.get("model"),
        requests=row.requests,
        failed=row.failed,
        prompt_tokens=row.prompt_tokens,
        cached_tokens=row.cached_tokens,
        completion_tokens=row.completion_tokens,
        reasoning_tokens=row.reasoning_tokens,
        cost_nano_usd=row.cost,
    )
