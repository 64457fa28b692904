"""
What was used and what it cost: sums over the ledger, and its rows.

Money is in nano-dollars, billionths of a US dollar. An actor that is bound to a tenant sees that
tenant's part.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..contract.errors import InvalidRequest
from ..store.ledger import Chosen, Cursor, rows, tag
from ..store.ledger_rows import AttemptRow, Row
from ..store.usage import UsageQuery, UsageRow, usage
from .administration import View
from .listing import Listing, Paging, cursor_of, place_of
from .shapes import Json, Shown

MAX_OFFSET = 10**9

Money = Annotated[int, Field(description="Nano-dollars.")]


class UsageGroup(Shown):
    """Sums of one group; what is missing from `group` its requests did not have."""

    example: ClassVar[Json] = {
        "object": "usage",
        "group": {"day": "2026-01-31", "model": "chat-small"},
        "requests": 120,
        "failed": 1,
        "prompt_tokens": 50000,
        "cached_tokens": 0,
        "cache_written_tokens": 0,
        "audio_prompt_tokens": 0,
        "completion_tokens": 9000,
        "reasoning_tokens": 0,
        "audio_completion_tokens": 0,
        "cost_nano_usd": 12900000,
        "measured": 119,
        "counted": 1,
        "upper_bound": 0,
    }

    object: Literal["usage"] = "usage"
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
    cost_nano_usd: Money
    measured: int
    counted: int
    upper_bound: int


class LedgerAttempt(Shown):
    """One request that was sent to a target."""

    target: str
    provider: str
    model: str
    served_model: str | None = None
    status: int | None = None
    error: str | None = None
    duration_ms: int
    cost_nano_usd: Money


class LedgerRow(Shown):
    """One request. A provisional row stands for one whose gateway died."""

    example: ClassVar[Json] = {
        "object": "ledger_row",
        "request_id": "01JJZ8Y3X5N6P7Q8R9S0T1V2W3",
        "at": "2026-01-31T12:00:00Z",
        "tenant": "acme",
        "project": "search",
        "key": "8xT2mQ4vLp0Z",
        "operation": "chat",
        "model": "chat-small",
        "target": "vllm-a/demo-model",
        "stream": True,
        "status": 200,
        "outcome": "ok",
        "prompt_tokens": 420,
        "cached_tokens": 0,
        "cache_written_tokens": 0,
        "audio_prompt_tokens": 0,
        "completion_tokens": 75,
        "reasoning_tokens": 0,
        "audio_completion_tokens": 0,
        "cost_nano_usd": 108000,
        "priced": True,
        "usage_source": "measured",
        "provisional": False,
        "duration_ms": 840,
        "first_content_ms": 120,
        "tags": {"team": "search"},
        "attempts": [
            {
                "target": "vllm-a/demo-model",
                "provider": "vllm-a",
                "model": "demo-model",
                "status": 200,
                "duration_ms": 835,
                "cost_nano_usd": 108000,
            }
        ],
    }

    object: Literal["ledger_row"] = "ledger_row"
    request_id: str
    at: datetime
    tenant: str
    project: str | None = None
    key: str
    operation: str
    model: str
    target: str
    stream: bool
    status: int
    outcome: str
    error: str | None = None
    prompt_tokens: int
    cached_tokens: int
    cache_written_tokens: int
    audio_prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    audio_completion_tokens: int
    cost_nano_usd: Money
    priced: bool
    usage_source: str
    provisional: bool
    duration_ms: int
    first_content_ms: int | None = None
    client_request_id: str | None = None
    tags: Mapping[str, str]
    attempts: tuple[LedgerAttempt, ...]


async def sum_usage(
    view: View, chosen: Chosen, group_by: tuple[str, ...], paging: Paging
) -> Listing[UsageGroup]:
    """
    A page of the sums, in the order of their groups.

    Raises:
        NotFound: the tenant that is asked for is not the actor's to see.
        InvalidRequest: there is no such group or tag, or the place to go on from is none.
    """
    bounded = _bounded(view, chosen)
    offset = 0 if paging.after is None else _offset_of(paging.after)
    try:
        query = UsageQuery(group_by, bounded, limit=paging.limit + 1, offset=offset)
        found = await usage(view.connection, query)
    except ValueError as error:
        raise InvalidRequest(str(error), param="group_by") from None
    shown = [UsageGroup.model_validate(_fields(row)) for row in found[: paging.limit]]
    more = len(found) > paging.limit
    return Listing(data=shown, next=cursor_of(str(offset + paging.limit)) if more else None)


async def list_ledger(view: View, chosen: Chosen, paging: Paging) -> Listing[LedgerRow]:
    """
    A page of the ledger's rows, the latest first.

    Raises:
        NotFound: the tenant that is asked for is not the actor's to see.
        InvalidRequest: there is no such tag, or the place to go on from is none.
    """
    bounded = _bounded(view, chosen)
    after = None if paging.after is None else _cursor_of(paging.after)
    found = await rows(view.connection, bounded, limit=paging.limit + 1, after=after)
    shown = [_shown(row) for row in found[: paging.limit]]
    more = len(found) > paging.limit
    place = (shown[-1].at.isoformat(), shown[-1].request_id) if more else ()
    return Listing(data=shown, next=cursor_of(*place) if more else None)


def _bounded(view: View, chosen: Chosen) -> Chosen:
    """What was chosen, as far as the actor sees it."""
    for name in chosen.tags:
        try:
            tag(name)
        except ValueError as error:
            raise InvalidRequest(str(error), param="tag") from None
    return replace(chosen, tenant=view.bound(chosen.tenant))


def _shown(row: Row) -> LedgerRow:
    attempts = [_fields(each) for each in row.attempts]
    return LedgerRow.model_validate({**_fields(row), "attempts": attempts})


def _fields(row: Row | AttemptRow | UsageRow) -> dict[str, Any]:
    """By the names under which they are shown."""
    found = {each.name: getattr(row, each.name) for each in fields(row)}
    return {**found, "cost_nano_usd": found["cost"]}


def _offset_of(cursor: str) -> int:
    (text,) = place_of(cursor, 1)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_OFFSET)):
        raise _no_place()
    return int(text)


def _cursor_of(cursor: str) -> Cursor:
    at, request_id = place_of(cursor, 2)
    try:
        read = datetime.fromisoformat(at)
        if read.tzinfo is not None:
            return Cursor(read.astimezone(UTC), request_id)
    except (ValueError, OverflowError):
        raise _no_place() from None
    raise _no_place()


def _no_place() -> InvalidRequest:
    return InvalidRequest("This is not the `next` of a page.", param="after")
