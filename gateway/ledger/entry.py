"""
A request as the ledger's queues carry it: a JSON object of the row's columns.

A *note* travels with the reservation and says whose request it is; when the gateway dies, a
provisional row is made of it and of what the limits were charged. An *entry* is the final row.
Whatever a newer version adds an older one passes over, and what is missing has a default, so that
replicas of two versions can share a stream.

Hot: `note_of` and `entry_of` run once a request and never raise.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from ..store.ledger_rows import MAX_COST, MAX_MS, MAX_TOKENS, Row
from ..telemetry.record import AttemptRecord, Record

LOST = "gateway_lost"
"""The error of a provisional row: nobody knows how its request ended."""

_COUNTS = (
    "prompt_tokens",
    "cached_tokens",
    "cache_written_tokens",
    "audio_prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "audio_completion_tokens",
)
_row = TypeAdapter(Row)
_REFUSED = b"\\u0000"  # how JSON writes the one character that PostgreSQL can not keep


class BrokenEntry(ValueError):
    """What came out of a queue is no row; the message says why and holds nothing of it."""


def note_of(record: Record, *, prompt_tokens: int = 0, priced: bool = False) -> bytes:
    """
    Whose request it is, as far as is known before it is admitted; `prompt_tokens` is the estimate
    where there is one, `priced` says whether the target that it is meant for has a price.
    """
    return _packed(
        {
            "request_id": record.request_id,
            "at": record.at,
            "tenant": record.tenant,
            "project": record.project or None,
            "key": record.key,
            "operation": record.operation,
            "model": record.model[:200],
            "stream": record.stream,
            "prompt_tokens": prompt_tokens,
            "priced": priced,
            "client_request_id": record.client_request_id[:64] or None,
            "tags": record.tags,
        }
    )


def entry_of(record: Record) -> bytes:
    """The final row of a request that has ended."""
    started = record.started
    first = record.first_content
    return _packed(
        {
            "request_id": record.request_id,
            "at": record.admitted_at or record.at,
            "tenant": record.tenant,
            "project": record.project or None,
            "key": record.key,
            "operation": record.operation,
            "model": record.model[:200],
            "target": record.target[:300],
            "stream": record.stream,
            "status": record.status,
            "outcome": record.outcome,
            "error": record.error and record.error[:64],
            "prompt_tokens": record.prompt_tokens,
            "cached_tokens": record.cached_tokens,
            "cache_written_tokens": record.cache_written_tokens,
            "audio_prompt_tokens": record.audio_prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "reasoning_tokens": record.reasoning_tokens,
            "audio_completion_tokens": record.audio_completion_tokens,
            "cost": record.cost,
            "priced": record.priced,
            "usage_source": record.usage_source,
            "duration_ms": _ms(record.ended - started),
            "first_content_ms": None if first is None else _ms(first - started),
            "client_request_id": record.client_request_id[:64] or None,
            "tags": record.tags,
            "attempts": [_attempt(attempt) for attempt in record.attempts],
        }
    )


def row_of(entry: bytes) -> Row:
    """
    Read an entry.

    Raises:
        BrokenEntry: it is not one.
    """
    try:
        return _row.validate_json(entry)
    except ValidationError as error:
        raise _broken(error) from None


def provisional_of(note: bytes, tokens: int, cost: int) -> Row:
    """
    The row of a request whose gateway died, made of its note and what its limits were charged.

    Raises:
        BrokenEntry: the note is not one.
    """
    try:
        known = orjson.loads(note)
    except orjson.JSONDecodeError:
        raise BrokenEntry("a note that is not JSON") from None
    if type(known) is not dict:
        raise BrokenEntry("a note that is no object")
    prompt = known.get("prompt_tokens")
    prompt = min(prompt, tokens) if type(prompt) is int else 0
    charged = {
        "prompt_tokens": prompt,
        "completion_tokens": tokens - prompt,
        "cost": cost,
        "priced": known.get("priced") is True or cost > 0,
        "outcome": "failed",
        "error": LOST,
        "usage_source": "counted",
        "provisional": True,
    }
    try:
        return _row.validate_python(known | charged)
    except ValidationError as error:
        raise _broken(error) from None


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "target": attempt.target[:300],
        "provider": attempt.provider[:64],
        "model": attempt.model[:200],
        "served_model": attempt.served_model[:200] or None,
        "status": attempt.status,
        "error": attempt.error and attempt.error[:64],
        "duration_ms": _ms(attempt.ended - attempt.started),
        "cost": attempt.cost,
    }


def _ms(seconds: float) -> int:
    return min(max(0, round(seconds * 1000)), MAX_MS)


def _packed(row: dict[str, Any]) -> bytes:
    """A provider of a stranger's may have put anything into a record; its row is kept anyway."""
    try:
        packed = orjson.dumps(row)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        return orjson.dumps(_mended(row))
    if _REFUSED in packed or _is_absurd(row):
        return orjson.dumps(_mended(row))
    return packed


def _is_absurd(row: dict[str, Any]) -> bool:
    for name in _COUNTS:
        if not 0 <= row.get(name, 0) <= MAX_TOKENS:
            return True
    for priced in (row, *row.get("attempts", ())):
        if not 0 <= priced.get("cost", 0) <= MAX_COST:
            return True
    return False


def _mended(value: Any, most: int = MAX_TOKENS) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\x00", "�")
        case bool():
            return value
        case int():
            return min(max(0, value), most)
        case list():
            return [_mended(each) for each in value]
        case Mapping():
            return {
                _mended(name): _mended(each, MAX_COST if name == "cost" else MAX_TOKENS)
                for name, each in value.items()
            }
        case _:
            return value


def _broken(error: ValidationError) -> BrokenEntry:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return BrokenEntry(f"{where or 'the whole'}: {first['msg']}")
