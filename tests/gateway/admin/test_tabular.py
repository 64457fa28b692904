import csv
from datetime import UTC, datetime
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.tabular import as_csv, format_of


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("Text/CSV; charset=utf-8", "csv"),
        ("text/html, text/csv;q=0.9, */*;q=0.1", "csv"),
        ("application/json, text/csv", "json"),
        ("*/*, text/csv", "json"),
        ("text/html", "json"),
    ],
)
def test_the_first_format_that_is_accepted_is_taken(accept: str, format_: str) -> None:
    assert format_of(accept) == format_


def test_rows_have_their_columns_in_order_and_gaps_where_they_have_nothing() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    rows = [{"b": True, "a": "x", "c": 3}, {"a": None, "b": at, "d": "not asked for"}]

    assert as_csv(("a", "b", "c"), rows) == ("a,b,c\r\nx,true,3\r\n,2026-01-31T12:00:00+00:00,\r\n")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(text: str) -> None:
    (_, (cell,)) = list(csv.reader(StringIO(as_csv(("a",), [{"a": text}]), newline="")))

    assert cell == f"'{text}"


def test_a_negative_number_is_a_number() -> None:
    assert as_csv(("a",), [{"a": -1}]) == "a\r\n-1\r\n"


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=2
        )
    )
)
def test_whatever_is_written_is_read_again(cells: list[list[str]]) -> None:
    written = as_csv(("a", "b"), [{"a": a, "b": b} for a, b in cells])
    (_, *read) = list(csv.reader(StringIO(written, newline="")))

    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.removeprefix("'") for cell in row] for row in cells
    ]
