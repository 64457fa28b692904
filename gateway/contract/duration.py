"""
A length of time as people write it: `10s`, `500ms`, `2m`, `1h`, or a number of seconds.

Whatever was written, the program sees seconds as a float above 0 and at most `LONGEST`.
"""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

LONGEST = 366 * 86_400
"""Seconds; a longer one is a slip of the pen."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_WRITTEN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|)")


def seconds(value: object) -> float:
    """
    Read a duration.

    Raises:
        ValueError: it is not a number in those bounds, with or without a unit.
    """
    number: float
    match value:
        case bool():
            number = math.nan
        case int() | float():
            number = value
        case str() if written := _WRITTEN.fullmatch(value.strip()):
            number = float(written[1]) * _SECONDS[written[2]]
        case _:
            number = math.nan
    if not 0 < number <= LONGEST:
        raise ValueError("must be a duration above 0: seconds, or like 500ms, 10s, 2m, 1h")
    return float(number)


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h)?$"},
            ]
        }
    ),
]
"""Seconds, as a field of a settings model."""
