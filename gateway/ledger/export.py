"""
The ledger and its sums as files: CSV (RFC 4180) and JSON lines, a piece at a time.

Rows are read in pages, each on a connection of its own, the latest first: however many there are,
no more than a page is in memory, and whoever writes meanwhile waits for nobody. A value that a
spreadsheet would take for a formula is prefixed with an apostrophe, in CSV only. Money is told
twice: in whole nano-dollars, and in dollars to the last digit.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

import orjson

from ..store.database import Database
from ..store.ledger import Chosen, Cursor, rows
from ..store.ledger_rows import Row
from ..store.usage import UsageQuery, UsageRow, usage

PAGE = 500
"""Rows that are read at once."""

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NANO = 1_000_000_000
_ROW_COLUMNS = (
    "request_id", "at", "tenant", "project", "key", "operation", "model", "target", "stream",
    "status", "outcome", "error", "prompt_tokens", "cached_tokens", "cache_written_tokens",
    "audio_prompt_tokens", "completion_tokens", "reasoning_tokens", "audio_completion_tokens",
    "cost_nano_usd", "cost_usd", "priced", "usage_source", "provisional", "attempts",
    "duration_ms", "first_content_ms", "client_request_id", "tags",
)  # fmt: skip
_SUMS = tuple(field.name for field in fields(UsageRow) if field.name not in {"group", "cost"})


async def rows_as_csv(database: Database, chosen: Chosen) -> AsyncIterator[bytes]:
    """
    A line of names, then one for each row. `attempts` is how many there were.

    Raises:
        StoreUnavailable: the database is out of reach; what was given so far is cut short.
    """
    yield _csv([_ROW_COLUMNS])
    async for page in _pages(database, chosen):
        lines = [_row(each) | {"attempts": len(each.attempts)} for each in page]
        yield _csv([line[name] for name in _ROW_COLUMNS] for line in lines)


async def rows_as_json_lines(database: Database, chosen: Chosen) -> AsyncIterator[bytes]:
    """An object for each row, with its attempts. Raises as `rows_as_csv`."""
    async for page in _pages(database, chosen):
        yield _json_lines(_row(each) for each in page)


async def usage_as_csv(database: Database, query: UsageQuery) -> AsyncIterator[bytes]:
    """
    A line of names, then one for each group, from the query's offset on and whatever its limit.
    Raises as `rows_as_csv`.
    """
    names = (*query.group_by, *_SUMS, "cost_nano_usd", "cost_usd")
    yield _csv([names])
    async for page in _usage_pages(database, query):
        yield _csv([line[name] for name in names] for line in map(_usage, page))


async def usage_as_json_lines(database: Database, query: UsageQuery) -> AsyncIterator[bytes]:
    """An object for each group; otherwise like `usage_as_csv`."""
    async for page in _usage_pages(database, query):
        yield _json_lines(map(_usage, page))


async def _pages(database: Database, chosen: Chosen) -> AsyncIterator[list[Row]]:
    after: Cursor | None = None
    while True:
        async with database.reading() as connection:
            page = await rows(connection, chosen, limit=PAGE, after=after)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = Cursor(page[-1].at, page[-1].request_id)


async def _usage_pages(database: Database, query: UsageQuery) -> AsyncIterator[list[UsageRow]]:
    query = replace(query, limit=PAGE)
    while True:
        async with database.reading() as connection:
            page = await usage(connection, query)
        if page:
            yield page
        if len(page) < PAGE:
            return
        query = replace(query, offset=query.offset + PAGE)


def _row(row: Row) -> dict[str, Any]:
    line = asdict(row)
    line["attempts"] = [_with_money(attempt) for attempt in line["attempts"]]
    return _with_money(line)


def _usage(row: UsageRow) -> dict[str, Any]:
    line = asdict(row)
    return _with_money({**line.pop("group"), **line})


def _csv(lines: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    match value:
        case str() if value.startswith(_FORMULAS):
            return f"'{value}"
        case datetime():
            return value.isoformat()
        case bool():
            return "true" if value else "false"
        case dict():
            return orjson.dumps(value).decode()
        case _:
            return value


def _json_lines(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join([orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines])


def _with_money(line: dict[str, Any]) -> dict[str, Any]:
    cost = line.pop("cost")
    whole, rest = divmod(cost, _NANO)
    return {**line, "cost_nano_usd": cost, "cost_usd": f"{whole}.{rest:09}"}
