import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway.contract.duration import Duration, seconds


class Settings(BaseModel):
    wait: Duration


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10s", 10.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("30", 30.0),
        (" 5 s ", 5.0),
        (5, 5.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_as_seconds(written: object, expected: float) -> None:
    assert Settings.model_validate({"wait": written}).wait == expected


@pytest.mark.parametrize(
    "written",
    ["", "s", "0s", 0, -1, "-1s", "1d", "1s2", math.nan, math.inf, True, None, [], "1e9s", "٣s"],
)
def test_anything_else_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"wait": written})


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary()))
def test_a_duration_is_positive_and_finite_or_a_value_error(written: object) -> None:
    try:
        number = seconds(written)
    except ValueError:
        return
    assert 0 < number < math.inf


def test_an_integer_beyond_any_float_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"wait": 10**400})
