"""What a settings model finds wrong is told with the line of the document, and with help."""

from collections.abc import Mapping

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.config.document import read
from gateway.config.validation import told


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colour: str
    size: int | None = None


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    things: Mapping[str, Inner] = {}
    listed: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "things:\n  a: {color: red}",
            "f:2: things.a.color: is not known here; did you mean colour?",
        ),
        ("things:\n  a: {size: 5}", "f:2: things.a.colour: is required"),
        ("things:\n  a: 5", "f:2: things.a: must be a mapping"),
        (
            "listed:\n- {colour: red, sise: 5}",
            "listed[0].sise: is not known here; did you mean size?",
        ),
        ("thing: {}", "f:1: thing: is not known here; did you mean things?"),
        ("listed: [{colour: red, size: x}]", "listed[0].size: Input should be a valid integer"),
    ],
)
def test_a_fault_names_line_place_and_what_was_meant(text: str, fault: str) -> None:
    document = read(text.encode(), "f", {})
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(document.data)

    lines = [each.told("f") for each in told(document, Outer, (), error.value)]
    assert any(fault in line for line in lines), lines
