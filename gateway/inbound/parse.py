"""
A request's bytes -> its body: JSON, of bounded depth and size, of the dialect.

The body itself is what goes upstream, unknown fields and all; what it is checked into is
forgotten. Messages name the place and the kind of fault, never a value.

Of a large body depth and size are taken from the bytes, before anything is made of them: ten
million brackets would be gigabytes of lists, and seconds in which nobody else is served. Parsing
holds the interpreter for all of its time, so a thread would help nobody; the bounds are such that
a body of 10 MiB is read in some 50 ms, whatever it holds. A small one can't hold too much, and
how deep it is shows when it has been read.

Hot: one search for brackets, one parse and one validation a request. Code in a prompt has many
brackets: the body is gone through then, but not its strings.
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

SMALL = 2 * MAX_NODES
"""Bytes of a body that can't have too many nodes, and fewer still of the others."""

_FEW = MAX_STRINGS // 2
"""Commas and brackets, wherever they stand; no more than two strings belong to each."""
_BRIEF = 2048
"""Bytes below which counting takes less time than searching, which is ten times as fast."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NODES = frozenset({dict, list})


def parse(content: bytes, request: TypeAdapter[Any]) -> dict[str, Any]:
    """
    The body as a dictionary, checked against `request`.

    Raises:
        InvalidRequest: it is not JSON, nested too deeply, or not of the dialect.
    """
    is_small = len(content) <= SMALL
    is_flat = _has_few_brackets(content)
    if not is_small and not (is_flat and _has_few_commas(content)):
        _check_size(content)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("depth limit exceeded"):
            raise _too_deep() from None
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg.split(':')[0]} at line {error.lineno}, "
            f"column {error.colno}.",
            code="invalid_json",
        ) from None
    if is_small and not is_flat and _is_deep(body):
        raise _too_deep()
    try:
        request.validator.validate_python(body)
    except ValidationError as error:
        raise invalid(error) from None
    return body  # type: ignore[no-any-return]  # validated as an object just now


def _has_few_brackets(content: bytes) -> bool:
    """Whether they are so few that they can't be too deep, wherever they stand."""
    if len(content) < _BRIEF:
        return _opened(content) <= MAX_DEPTH
    left = MAX_DEPTH
    for bracket in (b"{", b"["):
        place = content.find(bracket)
        while place >= 0 and left >= 0:
            place = content.find(bracket, place + 1)
            left -= 1
    return left >= 0


def _has_few_commas(content: bytes) -> bool:
    return len(content) <= _FEW or content.count(b",") + MAX_DEPTH < _FEW


def _is_deep(body: Any) -> bool:
    """Whether it has more than `MAX_DEPTH` levels. What is no object or list is looked at in C."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            within = node.values() if isinstance(node, dict) else node
            if not _NODES.isdisjoint(map(type, within)):
                below += [each for each in within if type(each) in _NODES]
        if not below:
            return False
        level = below
    return True


def _check_size(content: bytes) -> None:
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
        raise _too_deep()


def _structure(content: bytes) -> bytes:
    """What stands outside strings, if the content is JSON; if not, up to where it is none."""
    plain = content.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 2 * MAX_STRINGS:
        raise _too_many()
    return b"".join(plain.split(b'"')[::2])


def _opened(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _too_deep() -> InvalidRequest:
    return InvalidRequest(
        f"The body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json"
    )


def _too_many() -> InvalidRequest:
    return InvalidRequest(
        f"The body has more than {MAX_NODES} objects and lists, {MAX_STRINGS} strings or "
        f"{MAX_VALUES} values.",
        code="invalid_json",
    )
