"""Every row of FAILURES.md is shown by tests that there are."""

import pytest

from tests.system.faults.catalogue import (
    OTHERWISE,
    ROWS,
    SMALLER,
    functions_of,
    listed,
    named,
    table,
)
from tests.system.faults.elsewhere import ALSO

NAMED = named()


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_shown_by_tests_that_exist(row: int) -> None:
    assert NAMED[row] or listed(row)
    assert not set(NAMED[row]) & set(listed(row))
    for each in listed(row):
        place, _, test = each.partition("::")
        assert test in functions_of(place), each


def test_nothing_is_said_of_a_row_that_there_is_not() -> None:
    assert NAMED.keys() | ALSO.keys() | SMALLER.keys() | OTHERWISE.keys() == set(ROWS)


def test_the_catalogue_can_be_read() -> None:
    lines = list(table())

    assert [line for line in lines if not line.startswith(" ")] == [f"{row:02}" for row in ROWS]
    assert sum("tests/" in line for line in lines) > 2 * len(ROWS)
