"""
What a connection says for itself, before or beside any request that the application sees.

The same shape as every other error of the gateway, and the connection closes after it: whoever
sent bytes that two readers could understand differently gets no second try on the same wire.
"""

from typing import NamedTuple

import orjson


class Refusal(NamedTuple):
    """One answer of the connection's own. `phrase` is HTTP's name of the status."""

    status: int
    phrase: str
    code: str
    message: str
    type: str = "invalid_request_error"
    retryable: bool = False

    def wire(self, request_id: str) -> bytes:
        """The whole response."""
        body = orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": self.type,
                    "param": None,
                    "code": self.code,
                }
            }
        )
        retry = "retry-after: 1\r\nx-should-retry: true" if self.retryable else _FINAL
        head = (
            f"HTTP/1.1 {self.status} {self.phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nx-lockgate-error-source: gateway\r\n{retry}\r\n"
            "connection: close\r\n\r\n"
        )
        return head.encode("ascii") + body


_FINAL = "x-should-retry: false"

MALFORMED = Refusal(400, "Bad Request", "invalid_http", "The request is not valid HTTP/1.1.")
BAD_HOST = MALFORMED._replace(message="The request needs one valid Host header.")
BAD_TARGET = MALFORMED._replace(
    message="The request's target must be a path, or an address at the Host it names."
)
BAD_CODING = MALFORMED._replace(
    message="The only transfer coding is `chunked`, once, in HTTP/1.1, and without a length."
)
BAD_VERSION = MALFORMED._replace(message="HTTP/1.1 and HTTP/1.0 are spoken here.")
TOO_MUCH_FRAMING = MALFORMED._replace(message="The body is mostly framing.")
HEAD_TOO_LARGE = Refusal(
    431,
    "Request Header Fields Too Large",
    "headers_too_large",
    "The request's headers are too many or too large.",
)
HEAD_TOO_SLOW = Refusal(
    408, "Request Timeout", "request_timeout", "The request's headers did not arrive in time."
)
TOO_FAR_AHEAD = Refusal(
    503,
    "Service Unavailable",
    "too_far_ahead",
    "Too many requests were sent before the first of them was answered.",
    "server_error",
    retryable=True,
)
NO_PLACE = Refusal(
    503,
    "Service Unavailable",
    "too_many_connections",
    "The gateway has as many connections as it can hold.",
    "server_error",
    retryable=True,
)
