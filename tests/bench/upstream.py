"""
An upstream that costs next to nothing: canned answers in vLLM's shape from a raw protocol.

It reads no more of a request than it must: the length, whether it streams, how many tokens, and
whether usage is wanted. A stream sends one event each `INTERVAL`, whatever the load, so that what
is measured is the price of a chunk and not of a burst. Run as a process of its own; it prints its
port and ends when its standard input does.
"""

import asyncio
import os
import re
import sys
import threading
import time
from typing import Any

import orjson
import uvloop

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
INTERVAL = 0.01
"""Seconds between two events of one stream."""
PHASES = 100
"""Ticks over which the streams are spread."""
MAX_EVENTS = 60_000

_ID = "chatcmpl-3f1b0f7c5a7e4c0f9d8a2b6c4e1d7f90"
_CREATED = 1_760_000_000
_USAGE = {"prompt_tokens": 38, "total_tokens": 70, "completion_tokens": 32}

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_WITH_USAGE = re.compile(rb'"include_usage": ?true')
_TOKENS = re.compile(rb'"max_(?:completion_)?tokens": ?(\d+)')


def _whole() -> bytes:
    message: dict[str, object] = {
        "role": "assistant",
        "content": "A lock gate lets each vessel through at a measured rate to the right channel.",
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning_content": None,
    }
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    body = orjson.dumps(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": _CREATED,
            "model": MODEL,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": {**_USAGE, "prompt_tokens_details": None},
            "prompt_logprobs": None,
            "kv_transfer_params": None,
        }
    )
    return (
        b"HTTP/1.1 200 OK\r\ndate: Wed, 01 Jan 2025 00:00:00 GMT\r\nserver: uvicorn\r\n"
        b"content-length: %d\r\ncontent-type: application/json\r\n\r\n" % len(body)
    ) + body


def _event(**fields: object) -> bytes:
    """One event, as one chunk of the transfer."""
    payload = {"id": _ID, "object": "chat.completion.chunk", "created": _CREATED, "model": MODEL}
    return _chunk(b"data: " + orjson.dumps(payload | fields) + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> list[dict[str, object]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


WHOLE = _whole()
BEGIN = (
    b"HTTP/1.1 200 OK\r\ndate: Wed, 01 Jan 2025 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
) + _event(choices=_choice({"role": "assistant", "content": ""}))
CONTENT = _event(choices=_choice({"content": " vessel"}))
FINISH = _event(choices=_choice({"content": ""}, "stop"))
USAGE = _event(choices=[], usage=_USAGE)
END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
ACCEPTED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Wheel:
    """
    Sends the next event of each stream once an interval; streams are spread evenly over it.

    A thread with a clock of its own, because the loop's timers count whole milliseconds: events
    that leave together are read together, and are cheaper than they should be.
    """

    def __init__(self) -> None:
        self._phases: list[dict[_Stream, None]] = [{} for _ in range(PHASES)]
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, stream: "_Stream") -> None:
        """Begin to send it, in the phase that has the fewest."""
        with self._lock:
            min(self._phases, key=len)[stream] = None

    def _run(self) -> None:
        turn = _phase()
        while True:
            now = _phase()
            while turn <= now:  # more than once where the machine was busy elsewhere
                with self._lock:
                    phase = self._phases[turn % PHASES]
                    for ended in [stream for stream in phase if not stream.send()]:
                        del phase[ended]
                turn += 1
            time.sleep(INTERVAL / PHASES)


def _phase() -> int:
    return int(time.monotonic() * PHASES / INTERVAL)


class _Stream:
    """One answer on its way, on a descriptor of its own."""

    __slots__ = ("_events", "_socket", "_tail")

    def __init__(self, fd: int, events: int, *, with_usage: bool) -> None:
        self._socket = os.dup(fd)
        self._events = events
        self._tail = (FINISH, USAGE, END) if with_usage else (FINISH, END)

    def send(self) -> bool:
        """Send the next event; false after the last, or if nobody takes it."""
        try:
            if self._events:
                self._events -= 1
                os.write(self._socket, CONTENT)
                return True
            for last in self._tail:
                os.write(self._socket, last)
        except OSError:  # gone, or not reading for so long that the socket is full
            pass
        os.close(self._socket)
        return False


class Client(asyncio.Protocol):
    """A connection: requests one after the other."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._waiting = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        waiting = self._waiting + data
        while (end := waiting.find(b"\r\n\r\n") + 4) > 3:
            length = _LENGTH.search(waiting, 0, end)
            whole = end + (int(length[1]) if length else 0)
            if len(waiting) < whole:
                break
            self._answer(waiting[:end], waiting[end:whole])
            waiting = waiting[whole:]
        self._waiting = waiting

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST /v1/traces"):
            self._transport.write(ACCEPTED)
        elif _STREAM.search(body):
            tokens = _TOKENS.search(body)
            events = min(int(tokens[1]) if tokens else 32, MAX_EVENTS)
            self._transport.write(BEGIN)
            usage = _WITH_USAGE.search(body) is not None
            fd = self._transport.get_extra_info("socket").fileno()
            self._wheel.add(_Stream(fd, events, with_usage=usage))
        else:
            self._transport.write(WHOLE)


async def serve() -> None:
    """Serve on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    wheel = Wheel()
    server = await loop.create_server(lambda: Client(wheel), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    # A pipe whose other end is gone: whoever started this has ended, however that came.
    waiter = threading.Thread(
        target=lambda: (os.read(sys.stdin.fileno(), 1), loop.call_soon_threadsafe(ended.set)),
        daemon=True,
    )
    waiter.start()
    await ended.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
