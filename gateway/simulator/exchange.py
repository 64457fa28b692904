"""
One request and the bytes of its answer.

Whoever writes to a client that left is told so by `HungUp`; nothing else of ASGI shows outside.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from .errors import Refused
from .link import HungUp, Link

MAX_BODY = 64 * 1024 * 1024
JSON = b"application/json"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


class Exchange:
    """`status` is what was answered, 0 before that."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.client: tuple[str, int] | None = scope["client"]
        self.headers: Headers = scope["headers"]
        self.link: Link = scope["state"]["link"]
        self.status = 0
        self._receive = receive
        self._send = send

    async def body(self) -> bytes:
        """
        The whole request body.

        Raises:
            HungUp: the client left before it was complete.
            Refused: it is larger than `MAX_BODY`.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise HungUp
            parts.append(message["body"])
            size += len(message["body"])
            if size > MAX_BODY:
                raise Refused(413, f"The body is larger than {MAX_BODY} bytes.")
            if not message["more_body"]:
                return b"".join(parts)

    async def start(self, status: int, headers: Headers) -> None:
        """The status line and the headers."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, raw: bytes) -> None:
        """A part of the body; waits while the client reads slowly. Raises `HungUp`."""
        await self._send({"type": "http.response.body", "body": raw, "more_body": True})
        if self.link.gone:
            raise HungUp

    async def end(self, raw: bytes = b"") -> None:
        """The last part of the body."""
        await self._send({"type": "http.response.body", "body": raw, "more_body": False})

    async def whole(
        self,
        status: int,
        body: bytes,
        *,
        content_type: bytes = JSON,
        headers: Headers = (),
    ) -> None:
        """A complete answer. Raises `HungUp` if there is nobody to read it."""
        if self.link.gone:
            raise HungUp
        length = b"%d" % len(body)
        await self.start(
            status, [(b"content-type", content_type), (b"content-length", length), *headers]
        )
        await self.end(body)
