"""
Both ends of slow streams: an upstream that writes into each event when it was sent, and callers
that note how late it comes.

They are for one process, because its steady clock is what the two have in common.
"""

import asyncio
import re
from time import monotonic_ns
from typing import Any

import orjson

INTERVAL = 1.0
"""Seconds between two events of one stream."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SENT = re.compile(rb'"content":"@(\d+)"')
_OK = b"HTTP/1.1 200"
_SHAPE = {"id": "chatcmpl-1", "created": 1_760_000_000, "model": "paced"}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "Hello!"}
    body = orjson.dumps(
        {
            **_SHAPE,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 38, "completion_tokens": 32, "total_tokens": 70},
        }
    )
    head = b"%b OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (_OK, len(body)) + body


def _event(content: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    data = orjson.dumps({**_SHAPE, "object": "chat.completion.chunk", "choices": [choice]})
    return _chunk(b"data: %b\n\n" % data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_WHOLE = _whole()
_BEGIN = _OK + b" OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = _event("", "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """A connection to the upstream. A stream has as many events as it was asked for tokens."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, found, body = self._waiting.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return
        self._waiting = b""
        chat = orjson.loads(body)
        if chat.get("stream"):
            self._transport.write(_BEGIN)
            self._send(chat["max_tokens"])
        else:
            self._transport.write(_WHOLE)

    def _send(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if left:
            self._transport.write(_event(f"@{monotonic_ns()}"))
            self._loop.call_later(INTERVAL, self._send, left - 1)
        else:
            self._transport.write(_END)


class Caller(asyncio.Protocol):
    """
    One stream, from its request to its end. `late_ms` has the milliseconds of each event.

    `ended` is done at the end, or has a ConnectionError if another came.
    """

    def __init__(self, request: bytes) -> None:
        self.late_ms: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()
        self._request = request
        self._waiting = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()
        if not self.late_ms and not self._waiting and not data.startswith(_OK):
            self._end_by(ConnectionError(data[:300]))
        events, _, self._waiting = (self._waiting + data).rpartition(b"\n\n")
        self.late_ms += ((now - int(sent)) / 1e6 for sent in _SENT.findall(events))
        if events.endswith(b"data: [DONE]"):
            self._end_by(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_by(exc or ConnectionError("closed before its end"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _end_by(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
