"""
An answer on its way to the client.

Status and headers go out only when there is content, so that until then another target could
take over. From there on an error is an event: one, and no `[DONE]` after it.

Hot: the loop of `_stream` runs once a read from the upstream, with all events of the read in one
message to the server.
"""

from collections.abc import Awaitable

from orjson import dumps
from starlette.types import Send

from ..contract.errors import GatewayError, ProviderError
from ..pipeline import Answer, Piece, Streamed, Whole
from .errors import Headers, error_body, error_event
from .rename import Renamer, renamed_whole

_JSON = (b"content-type", b"application/json")
_EVENTS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_COMMENT = b": keepalive\n\n"


class Relay:
    """Sends one response by `send`, and knows how far it has come."""

    __slots__ = ("finished", "send", "started")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.started = False
        self.finished = False

    async def answer(self, answer: Answer, model: str, headers: Headers) -> None:
        """
        Send an answer under its public model name.

        Raises:
            ProviderError: the stream broke; `error` says so to the client.
        """
        if isinstance(answer, Whole):
            await self.whole(200, headers, renamed_whole(answer.content, answer.seen, model))
        else:
            renamer = Renamer(model, hide_usage=answer.sent.injected_usage)
            await self._stream(answer, renamer, headers)

    async def error(self, error: GatewayError | ProviderError, headers: Headers) -> None:
        """Tell the client of an error: as a response, or as the last event of a stream."""
        if not self.started:
            await self.whole(error.status, headers, dumps(error_body(error)))
        elif not self.finished:
            await self._more(error_event(error), last=True)

    async def begin(self, headers: Headers) -> None:
        """Begin a stream: from here on an error is an event."""
        start = {"type": "http.response.start", "status": 200, "headers": _EVENTS + headers}
        await self.send(start)
        self.started = True

    async def comment(self) -> None:
        """Send what every reader of a stream passes over."""
        await self._more(_COMMENT, last=False)

    def whole(self, status: int, headers: Headers, content: bytes) -> Awaitable[None]:
        """Send a JSON body."""
        length = (b"content-length", b"%d" % len(content))
        return self.again(status, [_JSON, length, *headers], content)

    async def again(self, status: int, headers: Headers, content: bytes) -> None:
        """Send all of an answer that is there already."""
        send = self.send
        await send({"type": "http.response.start", "status": status, "headers": headers})
        self.started = True
        await send({"type": "http.response.body", "body": content, "more_body": False})
        self.finished = True

    async def _stream(self, answer: Streamed, renamer: Renamer, headers: Headers) -> None:
        if not self.started:
            await self.begin(headers)
        send, rest, batch = self.send, answer.rest, answer.held
        while not rest.done:
            content = _join(batch, renamer)
            batch.clear()  # while its client is behind, a stream holds what is sent and no more
            if content:
                await send({"type": "http.response.body", "body": content, "more_body": True})
            batch = await rest.next(renamer.mould)
        await self._more(_join(batch, renamer), last=True)

    async def _more(self, content: bytes, *, last: bool) -> None:
        await self.send({"type": "http.response.body", "body": content, "more_body": not last})
        self.finished = last


def _join(batch: list[Piece], renamer: Renamer) -> bytes:
    if len(batch) == 1:
        return renamer.event(*batch[0])
    return b"".join([renamer.event(raw, seen) for raw, seen in batch])
