"""
A request's bytes -> its body: JSON, of bounded depth and size, of the dialect.

The body itself is what goes upstream, unknown fields and all; the model that checks it is
forgotten. Messages name the place and the kind of fault, never a value.

Hot: one parse and one validation a request; the walk only for a body with many brackets.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from ..contract.chat import invalid
from ..contract.errors import InvalidRequest

MAX_DEPTH = 64
"""Objects and lists within one another."""
MAX_NODES = 100_000
"""Objects and lists in all."""


def parse(content: bytes, request: type[BaseModel]) -> dict[str, Any]:
    """
    The body as a dictionary, checked against `request`.

    Raises:
        InvalidRequest: it is not JSON, nested too deeply, or not of the dialect.
    """
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg.split(':')[0]} at line {error.lineno}, "
            f"column {error.colno}.",
            code="invalid_json",
        ) from None
    _check_nesting(content, body)
    try:
        request.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from None
    return body  # type: ignore[no-any-return]  # validated as an object just now


def _check_nesting(content: bytes, body: object) -> None:
    if content.count(b"{") + content.count(b"[") <= MAX_DEPTH:
        return
    depth = nodes = 0
    level = _containers([body])
    while level:
        depth += 1
        nodes += len(level)
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise InvalidRequest(
                f"The body is nested more than {MAX_DEPTH} levels deep, or has more than "
                f"{MAX_NODES} objects and lists.",
                code="invalid_json",
            )
        level = [
            inner
            for outer in level
            for inner in _containers(outer.values() if isinstance(outer, dict) else outer)
        ]


def _containers(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [value for value in values if isinstance(value, dict | list)]
