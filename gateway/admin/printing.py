"""
What the command line prints: tables for people, one JSON document for programs.

On a terminal tables have colours and fit its width, by folding and never by leaving out. Anywhere
else they are plain text with one line a row, so that other programs can cut them into columns.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

import orjson
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

NANO = 10**9
"""Nano-dollars in a dollar."""
NOTHING = "-"
"""What a cell shows of a value that is not there, or empty."""
_ENDLESS = 1_000_000
"""Columns of what is no terminal: nothing is ever folded there."""


class Column(NamedTuple):
    """A column of a table: its heading and the field that it shows."""

    heading: str
    field: str
    is_number: bool = False


def usd(nano_dollars: int) -> str:
    """An amount in dollars with all of its decimals, two at least: `0.0000015`, `12.50`."""
    sign = "-" if nano_dollars < 0 else ""
    whole, rest = divmod(abs(nano_dollars), NANO)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def shown(value: object) -> str:
    """A value in one cell, on one line, with nothing that a terminal would obey."""
    match value:
        case None | "" | [] | ():
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case str() | int():
            text = str(value)
        case Mapping():
            parts = ((name, shown(each)) for name, each in value.items())
            text = ", ".join(f"{name}={each}" for name, each in parts if each != NOTHING)
            return shown(text)
        case Iterable():
            text = ", ".join(shown(each) for each in value)
        case _:
            text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]


class Printer:
    """Writes to one stream, as text or, with `as_json`, as JSON."""

    def __init__(self, out: TextIO, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = out
        self._console = Console(
            file=out,
            markup=False,
            highlight=False,
            emoji=False,
            soft_wrap=not out.isatty(),
            width=None if out.isatty() else _ENDLESS,
            no_color=None if out.isatty() else True,
        )

    def line(self, text: str, style: str = "") -> None:
        """A line of text; not for JSON's reader."""
        if not self.as_json:
            self._console.print(Text(text, style))

    def text(self, text: str) -> None:
        """Text as it is, such as CSV."""
        self._out.write(text)

    def document(self, document: object) -> None:
        """The one JSON document of a command: a model, or what orjson can write."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
        plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
        self._out.write(orjson.dumps(plain, option=options).decode() + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> None:
        """One line a row under headings."""
        if not self._out.isatty():
            cells = [[shown(row.get(each.field)) for each in columns] for row in rows]
            self._aligned(columns, [[each.heading for each in columns], *cells])
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            if column.is_number:
                table.add_column(column.heading, justify="right", overflow="fold")
            else:
                table.add_column(column.heading, overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(row.get(each.field))) for each in columns))
        self._console.print(table)

    def fields(self, fields: Mapping[str, Any]) -> None:
        """One line for each field of an object."""
        width = max(map(len, fields), default=0)
        for name, value in fields.items():
            self._console.print(Text(name.ljust(width + 2), "bold") + Text(shown(value)))

    def _aligned(self, columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> None:
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            padded = [
                cell.rjust(width) if column.is_number else cell.ljust(width)
                for column, cell, width in zip(columns, line, widths, strict=True)
            ]
            self._out.write("  ".join(padded).rstrip() + "\n")
