"""Amounts are read exactly or refused; none becomes zero by mistake."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.money import dollars, nano_dollars


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        (0, 0),
        (3, 3_000_000_000),
        (Decimal("0.15"), 150_000_000),
        (Decimal("1.5e3"), 1_500_000_000_000),
        ("0.15", 150_000_000),
        ("5.", 5_000_000_000),
        (".5", 500_000_000),
        (Decimal("0.000000001"), 1),
        (Decimal("1.500000000000"), 1_500_000_000),
    ],
)
def test_an_amount_is_read_to_the_nano_dollar(written: object, nano: int) -> None:
    assert nano_dollars(written) == nano


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (0.15, "in plain decimals"),  # a float has lost what was written already
        (True, "in plain decimals"),
        (None, "in plain decimals"),
        ("", "in plain decimals"),
        ("1e3", "in plain decimals"),
        ("1.2.3", "in plain decimals"),
        (".", "in plain decimals"),
        ("٣", "in plain decimals"),
        ("²", "in plain decimals"),
        ("$3", "in plain decimals"),
        ("1" * 100, "in plain decimals"),
        (Decimal("NaN"), "in plain decimals"),
        (Decimal("-Infinity"), "in plain decimals"),
        (Decimal("1e999999"), "in plain decimals"),
        (Decimal("1e-999999"), "in plain decimals"),
        (Decimal("-0.01"), "must not be negative"),
        (-1, "must not be negative"),
        (Decimal("0.0000000001"), "has more than 9 decimals"),
        (Decimal("12345.1234567890000000000000000001"), "has more than 9 decimals"),
    ],
)
def test_an_amount_that_is_none_is_refused(written: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        nano_dollars(written)


@given(st.integers(0, 2**63))
def test_what_is_written_is_read_as_it_was(nano: int) -> None:
    assert nano_dollars(dollars(nano)) == nano
    assert nano_dollars(Decimal(dollars(nano))) == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0"), (1, "0.000000001"), (20 * 10**9, "20"), (150_000_000, "0.15"), (-5, "-0.000000005")],
)
def test_an_amount_is_told_exactly_and_no_longer_than_needed(nano: int, text: str) -> None:
    assert dollars(nano) == text
