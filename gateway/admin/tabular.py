"""
Rows as CSV (RFC 4180).

Names in them are callers' own, and a spreadsheet takes a cell that begins like a formula for one:
such a cell gets an apostrophe in front, as OWASP advises.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import Literal

CONTENT_TYPE = "text/csv; charset=utf-8"

Format = Literal["json", "csv"]

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def format_of(accept: str) -> Format:
    """Which of the two an Accept header names first; JSON where it names neither."""
    for part in accept.split(","):
        match part.partition(";")[0].strip().lower():
            case "text/csv":
                return "csv"
            case "application/json" | "*/*":
                return "json"
            case _:
                pass
    return "json"


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A line of headings, then one for each row; what a row does not have is empty."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat()
        case str() if value.startswith(_FORMULAS):
            return f"'{value}"
    return value
