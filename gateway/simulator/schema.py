"""
A JSON value that fits a JSON schema, for tool arguments and JSON answers.

Enough of the language for what applications send: types, properties, items, enum, const, bounds,
local references and the first branch of a union. The value depends on the schema and the bytes
drawn alone, and its size is bounded whatever the schema refers to.
"""

import math
from collections.abc import Callable, Iterator
from itertools import chain, repeat

from pydantic import JsonValue

MAX_DEPTH = 12
"""A reference that goes on deeper than this becomes null."""

MAX_SIZE = 1000
"""Objects and arrays are made of at most so many values; a schema that asks for more gets fewer."""

LARGEST = 2**53
"""Beyond it JSON readers disagree about integers; bounds farther out count as this."""

_WORDS = ("amber", "birch", "coral", "delta", "ember", "flint", "grove", "haven")

Schema = dict[str, JsonValue]


def example(schema: Schema, drawn: bytes) -> JsonValue:
    """One value that fits `schema`; `drawn` chooses among those that do."""
    return _Maker(schema, drawn).value(schema, MAX_DEPTH)


class _Maker:
    def __init__(self, root: Schema, drawn: bytes) -> None:
        self._root = root
        self._drawn: Iterator[int] = chain(drawn, repeat(0))
        self._left = MAX_SIZE
        self._kinds: dict[str, Callable[[Schema, int], JsonValue]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
        }

    def value(self, schema: JsonValue, depth: int) -> JsonValue:
        self._left -= 1
        if depth <= 0 or self._left <= 0 or not isinstance(schema, dict):
            return None
        made: JsonValue = None
        match schema:
            case {"const": value}:
                made = value
            case {"enum": [*values]} if values:
                made = values[next(self._drawn) % len(values)]
            case {"$ref": str(pointer)}:
                made = self.value(self._referred(pointer), depth - 1)
            case {"anyOf": [branch, *_]} | {"oneOf": [branch, *_]} | {"allOf": [branch, *_]}:
                made = self.value(branch, depth - 1)
            case {"type": str(kind)} | {"type": [str(kind), *_]}:
                made = self._kinds.get(kind, _null)(schema, depth)
            case _:
                made = self._object(schema, depth)
        return made

    def _referred(self, pointer: str) -> JsonValue:
        found: JsonValue = self._root
        for step in pointer.removeprefix("#").strip("/").split("/"):
            if not isinstance(found, dict) or step not in found:
                return None
            found = found[step]
        return found

    def _object(self, schema: Schema, depth: int) -> JsonValue:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        return {name: self.value(of, depth - 1) for name, of in properties.items()}

    def _array(self, schema: Schema, depth: int) -> JsonValue:
        firsts = schema.get("prefixItems")
        if isinstance(firsts, list) and firsts:
            return [self.value(of, depth - 1) for of in firsts]
        most = _count(schema.get("maxItems"), 2)
        size = max(_count(schema.get("minItems"), 0), min(1 + next(self._drawn) % 2, most))
        of = schema.get("items", {"type": "string"})
        return [self.value(of, depth - 1) for _ in range(size)]

    def _string(self, schema: Schema, _: int) -> str:
        text = _FORMATS.get(str(schema.get("format")), _WORDS[next(self._drawn) % len(_WORDS)])
        text = text.ljust(_count(schema.get("minLength"), 0), "x")
        return text[: _count(schema.get("maxLength"), len(text))]

    def _integer(self, schema: Schema, _: int) -> int:
        low, high = _bounds(schema)
        low = math.ceil(low)
        return max(low, min(low + next(self._drawn) % 100, math.floor(high)))

    def _number(self, schema: Schema, _: int) -> float:
        low, high = _bounds(schema)
        return min(low + next(self._drawn) / 4, high)

    def _boolean(self, _: Schema, __: int) -> bool:
        return next(self._drawn) % 2 == 0


_FORMATS = {
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "6f1c2a54-0d3e-4b8a-9c70-5e1f2a3b4c5d",
}


def _null(_: Schema, __: int) -> JsonValue:
    return None


def _count(value: JsonValue, otherwise: int) -> int:
    return min(value, MAX_SIZE) if isinstance(value, int) else otherwise


def _bounds(schema: Schema) -> tuple[float, float]:
    low = _bound(schema.get("minimum"), schema.get("exclusiveMinimum"), step=1)
    high = _bound(schema.get("maximum"), schema.get("exclusiveMaximum"), step=-1)
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    return low, low + 100 if high is None else high


def _within(bound: float) -> float:
    return max(-LARGEST, min(bound, LARGEST))


def _bound(inside: JsonValue, outside: JsonValue, *, step: int) -> float | None:
    if isinstance(inside, int | float):
        return _within(inside)
    return _within(outside + step) if isinstance(outside, int | float) else None
