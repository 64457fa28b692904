"""
Errors as clients see them: OpenAI's shape, with headers that tell its SDKs whether to retry.

Only `message`, `type`, `param` and `code` of an error go out: nothing of a traceback, an
upstream's address or a credential.
"""

from math import ceil
from typing import Any

import orjson

from ..contract.errors import BodyTooSlow, GatewayError, ProviderError

Headers = list[tuple[bytes, bytes]]

_ANSWERABLE = GatewayError | ProviderError


def error_body(error: _ANSWERABLE) -> dict[str, Any]:
    """The error object of a body or an event."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def error_event(error: _ANSWERABLE) -> bytes:
    """The one event that ends a stream which failed after its first content."""
    return b"data: " + orjson.dumps(error_body(error)) + b"\n\n"


def error_headers(error: _ANSWERABLE) -> Headers:
    """
    What tells a client whether and when to try again.

    The SDKs read `retry-after-ms`, then `retry-after`; `x-should-retry` overrides their own rule,
    so that nobody repeats what waiting does not change or an upstream may have worked on.
    """
    is_gateways = isinstance(error, GatewayError)
    headers: Headers = [
        (b"x-lockgate-error-source", b"gateway" if is_gateways else b"upstream"),
        (b"x-should-retry", b"true" if error.retryable else b"false"),
    ]
    if isinstance(error, BodyTooSlow):
        headers.append((b"connection", b"close"))  # the rest would come as slowly
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after))))
        headers.append((b"retry-after-ms", b"%d" % max(1, ceil(error.retry_after * 1000))))
    return headers
