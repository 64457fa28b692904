"""
Amounts of money as configurations write them: USD in plain decimals, held as whole nano-dollars.

A nano-dollar is 10^-9 USD. Nothing here is ever a float: 0.1 USD would not be 100,000,000 of
them.
"""

from decimal import Decimal
from fractions import Fraction

NANO = 10**9
"""Nano-dollars in a dollar."""
DECIMALS = 9

_DIGITS = 64
"""Further ones are no amount that anybody means, and would cost time."""


def nano_dollars(value: object) -> int:
    """
    USD, as a whole number, a decimal or the text of one, in nano-dollars: exactly.

    Raises:
        ValueError: it is no plain amount, is negative, or has more than nine decimals.
    """
    usd = _plain(value)
    if usd is None:
        raise ValueError("must be an amount of USD in plain decimals, like 0.15")
    if usd < 0:
        raise ValueError("must not be negative")
    nano = Fraction(usd) * NANO
    if nano.denominator != 1:
        raise ValueError(f"has more than {DECIMALS} decimals")
    return nano.numerator


def dollars(nano: int) -> str:
    """Nano-dollars as USD, exactly and no longer than needed: `0.15`, `20`."""
    whole, rest = divmod(abs(nano), NANO)
    text = f"{whole}.{rest:0{DECIMALS}}".rstrip("0").removesuffix(".")
    return f"-{text}" if nano < 0 else text


def _plain(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int() | Decimal():
            usd = Decimal(value)
        case str() if value.isascii() and value.replace(".", "", 1).isdigit():
            usd = Decimal(value)
        case _:
            return None
    _, digits, exponent = usd.as_tuple()
    is_short = isinstance(exponent, int) and len(digits) + abs(exponent) <= _DIGITS
    return usd if is_short else None
