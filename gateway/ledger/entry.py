"""
A request as the ledger's queues carry it.

A *note* travels with the reservation and says whose request it is; when the gateway dies, a
provisional row is made of it and of what the limits were charged. An *entry* is the final row: in
this process the values of its columns, elsewhere their bytes. Notes and the bytes of entries are
JSON objects of a row's columns. Whatever a newer version adds an older one passes over, and what
is missing has a default, so that replicas of two versions can share a stream.

Hot: `note_of` and `entry_of` run once a request and never raise.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from ..store.ledger_rows import ATTEMPT_COLUMNS, COLUMNS, MAX_COST, MAX_MS, MAX_TOKENS, Row
from ..telemetry.record import AttemptRecord, Record

LOST = "gateway_lost"
"""The error of a provisional row: nobody knows how its request ended."""

_SIZE, _ATTEMPT_SIZE = 768, 256
"""Bytes of memory that an entry takes, and one of its attempts, beside their texts."""

_TOKEN_BITS, _COST_BITS = MAX_TOKENS.bit_length() - 1, MAX_COST.bit_length()

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


class Entry:
    """
    A final row that fits its table (`Writable`). Its bytes are what `row_of` reads, and its size
    bounds what it takes of memory.
    """

    __slots__ = ("_attempts", "_columns", "_size", "request_id")
    provisional = False

    def __init__(
        self, columns: tuple[Any, ...], attempts: tuple[tuple[Any, ...], ...], texts: str
    ) -> None:
        """`texts` is as long as those that may be of this request alone."""
        self.request_id: str = columns[0]
        self._columns = columns
        self._attempts = attempts
        self._size = _SIZE + len(attempts) * _ATTEMPT_SIZE + sys.getsizeof(texts)

    def columns(self) -> tuple[Any, ...]:
        """See `Writable`."""
        return self._columns

    def attempt_columns(self) -> Iterable[tuple[Any, ...]]:
        """See `Writable`."""
        return self._attempts

    def __bytes__(self) -> bytes:
        row = dict(zip(COLUMNS, self._columns, strict=True))
        row["attempts"] = [_attempt_row(each) for each in self._attempts]
        row["tags"] = dict(row["tags"])
        return _packed(row)

    def __repr__(self) -> str:
        return f"Entry({self._columns!r}, {self._attempts!r})"

    def __sizeof__(self) -> int:
        return self._size


def entry_of(record: Record) -> Entry:
    """The final row of a request that has ended."""
    request_id, started, first = record.request_id, record.started, record.first_content
    attempts = tuple(
        [_attempt(request_id, number, each) for number, each in enumerate(record.attempts, 1)]
    )
    columns = (
        request_id,
        record.admitted_at or record.at,
        record.tenant,
        record.project or None,
        record.key,
        record.operation,
        record.model[:200],
        record.target[:300],
        record.stream,
        record.status,
        record.outcome,
        record.error and record.error[:64],
        record.prompt_tokens,
        record.cached_tokens,
        record.cache_written_tokens,
        record.audio_prompt_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.audio_completion_tokens,
        record.cost,
        record.priced,
        record.usage_source,
        False,  # it is not provisional
        len(attempts),
        _ms(record.ended - started),
        None if first is None else _ms(first - started),
        record.client_request_id[:64] or None,
        record.tags,
    )
    texts = _texts(record)
    if not texts.isascii() or "\x00" in texts or _is_absurd(record):
        return _mended_entry(columns, attempts, texts)
    return Entry(columns, attempts, texts)


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


def _attempt(request_id: str, number: int, attempt: AttemptRecord) -> tuple[Any, ...]:
    return (
        request_id,
        number,
        attempt.target[:300],
        attempt.provider[:64],
        attempt.model[:200],
        attempt.served_model[:200] or None,
        attempt.status,
        attempt.error and attempt.error[:64],
        _ms(attempt.ended - attempt.started),
        attempt.cost,
    )


def _attempt_row(columns: tuple[Any, ...]) -> dict[str, Any]:
    """As an entry's bytes have it: its request and its place go without saying."""
    return dict(zip(ATTEMPT_COLUMNS[2:], columns[2:], strict=True))


def _ms(seconds: float) -> int:
    taken = round(seconds * 1000)
    return taken if 0 <= taken <= MAX_MS else min(max(0, taken), MAX_MS)


def _texts(record: Record) -> str:
    """All that a stranger may have had a hand in."""
    texts = f"{record.model}{record.target}{record.error}{record.client_request_id}"
    for attempt in record.attempts:
        texts += f"{attempt.target}{attempt.provider}{attempt.model}"
        if attempt.error or attempt.served_model:
            texts += f"{attempt.error}{attempt.served_model}"
    tags = record.tags
    return texts + "".join([*tags, *tags.values()]) if tags else texts


def _is_absurd(record: Record) -> bool:
    """Whether a count is negative, more than anybody can have used, or no whole number."""
    try:
        tokens = (
            record.prompt_tokens
            | record.cached_tokens
            | record.cache_written_tokens
            | record.audio_prompt_tokens
            | record.completion_tokens
            | record.reasoning_tokens
            | record.audio_completion_tokens
        )
        cost = record.cost
        for attempt in record.attempts:
            cost |= attempt.cost
    except TypeError:
        return True
    return tokens >> _TOKEN_BITS != 0 or cost >> _COST_BITS != 0


def _mended_entry(
    columns: tuple[Any, ...], attempts: tuple[tuple[Any, ...], ...], texts: str
) -> Entry:
    return Entry(
        _mended_columns(COLUMNS, columns),
        tuple([_mended_columns(ATTEMPT_COLUMNS, each) for each in attempts]),
        texts,
    )


def _mended_columns(names: Iterable[str], columns: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_mended(dict(zip(names, columns, strict=True))).values())


def _packed(row: dict[str, Any]) -> bytes:
    """A provider of a stranger's may have put anything into a record; its row is kept anyway."""
    try:
        packed = orjson.dumps(row)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        return orjson.dumps(_mended(row))
    return orjson.dumps(_mended(row)) if _REFUSED in packed else packed


def _mended(value: Any, most: int = MAX_TOKENS) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\x00", "�")
        case bool():
            return value
        case int() | float():
            return int(min(max(0, value), most))  # what is no number is 0
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
