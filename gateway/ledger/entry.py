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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from ..store.ledger_rows import ATTEMPT_COLUMNS, COLUMNS, MAX_COST, MAX_MS, MAX_TOKENS, Row
from ..telemetry.record import Record

LOST = "gateway_lost"
"""The error of a provisional row: nobody knows how its request ended."""

_SIZE, _ATTEMPT_SIZE = 832, 256
"""Bytes of memory that an entry takes, and one of its attempts, beside their texts."""

_TOKEN_BITS, _COST_BITS = MAX_TOKENS.bit_length() - 1, MAX_COST.bit_length()
_MS_BITS = MAX_MS.bit_length()
_MOST = {"cost": MAX_COST, "duration_ms": MAX_MS, "first_content_ms": MAX_MS}
"""By columns; what is in none of these is no more than `MAX_TOKENS`."""

_ATTEMPT_NAMES = ATTEMPT_COLUMNS[2:]

_row = TypeAdapter(Row)
_REFUSED = b"\\u0000"  # how JSON writes the one character that PostgreSQL can not keep


class BrokenEntry(ValueError):
    """What came out of a queue is no row; the message says why and holds nothing of it."""


def note_of(record: Record, *, prompt_tokens: int = 0, priced: bool = False) -> bytes:
    """
    Whose request it is, as far as is known before it is admitted; `prompt_tokens` is the estimate
    where there is one, `priced` says whether the target that it is meant for has a price.
    """
    row = {
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
    packed = _packed(row)
    return _packed(_mended(row)) if _REFUSED in packed else packed


class Entry:
    """
    A final row that fits its table (`Writable`). Its bytes are what `row_of` reads; of memory it
    takes `size` at most.
    """

    __slots__ = ("_attempts", "_columns", "request_id", "size")
    provisional = False

    def __init__(
        self, columns: tuple[Any, ...], attempts: Sequence[tuple[Any, ...]], texts: int
    ) -> None:
        """`texts` are the bytes of those that may be of this request alone."""
        self.request_id: str = columns[0]
        self._columns = columns
        self._attempts = attempts
        self.size = _SIZE + len(attempts) * _ATTEMPT_SIZE + texts

    def columns(self) -> tuple[Any, ...]:
        """See `Writable`."""
        return self._columns

    def attempt_columns(self) -> Iterable[tuple[Any, ...]]:
        """See `Writable`."""
        return self._attempts

    def __bytes__(self) -> bytes:
        row = dict(zip(COLUMNS, self._columns, strict=True))
        # Their request and their place go without saying.
        row["attempts"] = [
            dict(zip(_ATTEMPT_NAMES, each[2:], strict=True)) for each in self._attempts
        ]
        row["tags"] = dict(row["tags"])
        return _packed(row)

    def __repr__(self) -> str:
        return f"Entry({self._columns!r}, {self._attempts!r})"


def entry_of(record: Record) -> Entry:
    """The final row of a request that has ended."""
    started, first, error, tags = record.started, record.first_content, record.error, record.tags
    attempts, texts, times = _attempts(record)
    texts += f"{record.model}{record.target}{error or ''}{record.client_request_id}"
    if tags:
        texts += "".join([*tags, *tags.values()])
    taken = round((record.ended - started) * 1000)
    until_first = None if first is None else round((first - started) * 1000)
    times |= taken | (until_first or 0)
    columns = (
        record.request_id,
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
        error and error[:64],
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
        taken,
        until_first,
        record.client_request_id[:64] or None,
        tags,
    )
    if not texts.isascii() or "\x00" in texts or times >> _MS_BITS or _is_absurd(record):
        return _mended_entry(columns, attempts, texts)
    return Entry(columns, attempts, len(texts))


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


def _attempts(record: Record) -> tuple[list[tuple[Any, ...]], str, int]:
    """The rows of its attempts, all their texts, and the bits that their times have together."""
    rows: list[tuple[Any, ...]] = []
    texts, times = "", 0
    for attempt in record.attempts:
        target, provider, model = attempt.target, attempt.provider, attempt.model
        served, error = attempt.served_model, attempt.error
        taken = round((attempt.ended - attempt.started) * 1000)
        texts += f"{target}{provider}{model}{served}{error or ''}"
        times |= taken
        rows.append(
            (
                record.request_id,
                len(rows) + 1,
                target[:300],
                provider[:64],
                model[:200],
                served[:200] or None,
                attempt.status,
                error and error[:64],
                taken,
                attempt.cost,
            )
        )
    return rows, texts, times


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
    columns: tuple[Any, ...], attempts: Iterable[tuple[Any, ...]], texts: str
) -> Entry:
    return Entry(
        _mended_columns(COLUMNS, columns),
        [_mended_columns(ATTEMPT_COLUMNS, each) for each in attempts],
        sys.getsizeof(texts),
    )


def _mended_columns(names: Iterable[str], columns: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_mended(dict(zip(names, columns, strict=True))).values())


def _packed(row: dict[str, Any]) -> bytes:
    """A provider of a stranger's may have put anything into a record; its row is kept anyway."""
    try:
        return orjson.dumps(row)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        return orjson.dumps(_mended(row))


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
                _mended(name): _mended(each, _MOST.get(name, MAX_TOKENS))
                for name, each in value.items()
            }
        case _:
            return value


def _broken(error: ValidationError) -> BrokenEntry:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return BrokenEntry(f"{where or 'the whole'}: {first['msg']}")
