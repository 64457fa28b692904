from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.schema import MAX_SIZE, example

WORDS = ["type", "enum", "const", "$ref", "anyOf", "properties", "items", "minItems", "minimum"]
DRAWN = st.binary(min_size=8, max_size=64)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, str),
        ({"type": "integer"}, int),
        ({"type": "number"}, float | int),
        ({"type": "boolean"}, bool),
        ({"type": "array", "items": {"type": "integer"}}, list),
        ({"type": "object"}, dict),
        ({"type": ["string", "null"]}, str),
        ({"type": "null"}, type(None)),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, str),
        ({}, dict),
    ],
)
@given(drawn=DRAWN)
def test_a_value_is_of_its_type(schema: dict[str, Any], kind: Any, drawn: bytes) -> None:
    assert isinstance(example(schema, drawn), kind)


@given(drawn=DRAWN, values=st.lists(st.integers() | st.text(), min_size=1))
def test_an_enum_gives_one_of_its_values(drawn: bytes, values: list[Any]) -> None:
    assert example({"enum": values}, drawn) in values


@given(drawn=DRAWN, low=st.integers(-1000, 1000), width=st.integers(0, 50))
def test_a_number_keeps_its_bounds(drawn: bytes, low: int, width: int) -> None:
    for kind in ("integer", "number"):
        value = example({"type": kind, "minimum": low, "maximum": low + width}, drawn)
        assert isinstance(value, int | float)
        assert low <= value <= low + width


@given(drawn=DRAWN, least=st.integers(0, 20), more=st.integers(0, 5))
def test_strings_and_arrays_keep_their_lengths(drawn: bytes, least: int, more: int) -> None:
    text = example({"type": "string", "minLength": least, "maxLength": least + more}, drawn)
    array = example({"type": "array", "minItems": least, "maxItems": least + more}, drawn)

    assert isinstance(text, str)
    assert isinstance(array, list)
    assert least <= len(text) <= least + more
    assert least <= len(array) <= least + more


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(WORDS), inner),
    max_leaves=20,
)


@given(schema=st.dictionaries(st.sampled_from(WORDS), JSON), drawn=DRAWN)
def test_whatever_stands_in_a_schema_gives_json(schema: dict[str, Any], drawn: bytes) -> None:
    orjson.dumps(example(schema, drawn))


@pytest.mark.parametrize("far", [1e308, -1e308])
def test_a_bound_that_no_reader_keeps_still_gives_a_number(far: float) -> None:
    schema: dict[str, Any] = {"type": "integer", "minimum": far, "exclusiveMaximum": far}

    assert isinstance(example(schema, b"x"), int)


def test_every_property_is_there() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/City"}, "days": {"type": "integer"}},
        "$defs": {"City": {"type": "object", "properties": {"name": {"const": "Paris"}}}},
    }

    value = example(schema, b"x")

    assert isinstance(value, dict)
    assert value["city"] == {"name": "Paris"}
    assert set(value) == {"city", "days"}


def test_a_schema_that_refers_to_itself_or_asks_for_too_much_ends() -> None:
    item: Any = {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}}

    value = example({"type": "object", "properties": {"a": item, "b": {"$ref": "#/none"}}}, b"")

    assert isinstance(value, dict)
    assert isinstance(value["a"], list)
    assert len(value["a"]) <= MAX_SIZE
    assert value["b"] is None
