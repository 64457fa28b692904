"""
A request's bytes -> its body: JSON, of bounded depth and size, of the dialect.

The body itself is what goes upstream, unknown fields and all; what it is checked into is
forgotten. Messages name the place and the kind of fault, never a value.

Depth and size are taken from the bytes, before anything is made of them: ten million brackets
would be gigabytes of lists, and seconds in which nobody else is served. Parsing holds the
interpreter for all of its time, so a thread would help nobody; the bounds are such that a body of
10 MiB is read in some 50 ms, whatever it holds.

Hot: two counts, one parse and one validation a request; the rest only for a body with many
brackets, which code in a prompt may have.
"""

from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from ..contract.chat import invalid
from ..contract.errors import InvalidRequest

MAX_DEPTH = 64
"""Objects and lists within one another."""
MAX_NODES = 25_000
"""Objects and lists in all."""
MAX_STRINGS = 150_000
"""Strings in all, names of fields among them."""
MAX_VALUES = 500_000
"""Values of every kind: a batch of prompts in tokens has many."""

_FEW = MAX_STRINGS // 2
"""Commas and brackets, wherever they stand; no more than two strings belong to each."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")


def parse(content: bytes, request: TypeAdapter[Any]) -> dict[str, Any]:
    """
    The body as a dictionary, checked against `request`.

    Raises:
        InvalidRequest: it is not JSON, nested too deeply, or not of the dialect.
    """
    _check_size(content)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg.split(':')[0]} at line {error.lineno}, "
            f"column {error.colno}.",
            code="invalid_json",
        ) from None
    try:
        request.validator.validate_python(body)
    except ValidationError as error:
        raise invalid(error) from None
    return body  # type: ignore[no-any-return]  # validated as an object just now


def _check_size(content: bytes) -> None:
    brackets = _opened(content)
    if brackets <= MAX_DEPTH and (len(content) <= _FEW or content.count(b",") + brackets < _FEW):
        return
    structure = _structure(content)
    opened = _opened(structure)
    if opened > MAX_NODES or opened + structure.count(b",") > MAX_VALUES:
        raise _too_many()
    nested = structure.translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not nested:
            return
        nested = nested.replace(b"[]", b"")
    if nested:
        raise InvalidRequest(
            f"The body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json"
        )


def _structure(content: bytes) -> bytes:
    """What stands outside strings, if the content is JSON; if not, up to where it is none."""
    plain = content.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 2 * MAX_STRINGS:
        raise _too_many()
    return b"".join(plain.split(b'"')[::2])


def _opened(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _too_many() -> InvalidRequest:
    return InvalidRequest(
        f"The body has more than {MAX_NODES} objects and lists, {MAX_STRINGS} strings or "
        f"{MAX_VALUES} values.",
        code="invalid_json",
    )
