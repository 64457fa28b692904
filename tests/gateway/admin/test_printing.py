import io
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.admin.printing import Column, Printer, shown, usd

COLUMNS = (Column("ID", "id"), Column("REQUESTS", "requests", is_number=True))
ROWS = [{"id": "x" * 300, "requests": 5}, {"id": "b", "requests": 12000}]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(terminal: bool = False, **options: Any) -> tuple[Printer, io.StringIO]:
    out = Terminal() if terminal else io.StringIO()
    return Printer(out, **options), out


@given(st.integers(min_value=-(2**63), max_value=2**63))
def test_an_amount_keeps_all_of_its_decimals(nano: int) -> None:
    text = usd(nano)

    assert Decimal(text) == Decimal(nano) / 10**9
    assert len(text.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (1, "0.000000001"), (1_500_000_000, "1.50"), (-20_000_000, "-0.02")],
)
def test_an_amount_has_as_many_decimals_as_it_needs(nano: int, text: str) -> None:
    assert usd(nano) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ((), "-"),
        ("", "-"),
        (True, "yes"),
        (0, "0"),
        (["a", "b"], "a, b"),
        ({"requests": "5/minute", "tokens": None}, "requests=5/minute"),
        ({}, "-"),
        (Decimal("1.5"), "1.5"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1))), "2026-01-02 02:00:00Z"),
        ("\x1b[31mred\n", "\\x1b[31mred\\n"),
    ],
)
def test_a_value_is_one_cell(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_no_value_breaks_its_line_or_commands_the_terminal(value: object) -> None:
    assert shown(value).isprintable()


def test_away_from_a_terminal_a_row_is_a_line_without_colour_and_whole() -> None:
    printer, out = printed()
    printer.table(COLUMNS, ROWS)

    heading, first, second = out.getvalue().splitlines()
    assert heading.split() == ["ID", "REQUESTS"]
    assert first.split() == ["x" * 300, "5"]
    assert second.split() == ["b", "12000"]
    assert len(heading) == len(first) == len(second)
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_cells_are_folded_and_never_shortened() -> None:
    printer, out = printed(terminal=True)
    printer.table(COLUMNS, ROWS)

    assert out.getvalue().count("x") == 300
    assert "…" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) < 200


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    for terminal in (False, True):
        printer, out = printed(terminal=terminal)
        printer.table(COLUMNS, [{"id": "[red]a[/red] :smile:"}])
        printer.fields({"title": "[bold]b"})
        assert "[red]a[/red] :smile:" in out.getvalue()
        assert "[bold]b" in out.getvalue()


def test_an_objects_fields_are_lines() -> None:
    printer, out = printed()
    printer.fields({"id": "acme", "suspended": False, "note": "word " * 60})

    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["id", "suspended", "note"]
    assert lines[1].split() == ["suspended", "no"]


def test_json_is_one_document_without_text_around_it() -> None:
    class Shown(BaseModel):
        at: datetime

    printer, out = printed(as_json=True)
    printer.line("Created.")
    printer.document(Shown(at=datetime(2026, 1, 2, tzinfo=UTC)))

    assert json.loads(out.getvalue()) == {"at": "2026-01-02T00:00:00Z"}


def test_a_line_is_written_where_nobody_asked_for_json() -> None:
    printer, out = printed()
    printer.line("Created.", "green")

    assert out.getvalue() == "Created.\n"
