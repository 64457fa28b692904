"""
An upstream that costs next to nothing: canned answers in vLLM's shape from a small C program.

The answers are made here; the program, which knows no format, is compiled each time it is started.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from tests.support.debian import command

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
INTERVAL = 0.01
"""Seconds between two events of one stream."""
SENT = "0" * 16
"""Stands in an event where the program writes when it was sent: µs of the machine's clock."""

_SOURCE = Path(__file__).with_name("upstream.c")
_ID = "chatcmpl-3f1b0f7c5a7e4c0f9d8a2b6c4e1d7f90"
_CREATED = 1_760_000_000
_USAGE = {"prompt_tokens": 38, "total_tokens": 70, "completion_tokens": 32}


@contextmanager
def upstream(interval: float = INTERVAL) -> Iterator[int]:
    """
    A running upstream, on a port of its own; a stream has an event each `interval` seconds.

    Raises:
        RuntimeError: there is no compiler, and none can be had.
    """
    with tempfile.TemporaryDirectory(prefix="lockgate-upstream-") as directory:
        program = Path(directory) / "upstream"
        subprocess.run([command("cc", "gcc libc6-dev"), "-O2", "-o", program, _SOURCE], check=True)
        with subprocess.Popen(
            [program, str(round(interval * 1e6))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for answer in _answers():
                process.stdin.write(len(answer).to_bytes(4) + answer)
            process.stdin.flush()
            yield int(process.stdout.readline())
            process.stdin.close()


def _answers() -> tuple[bytes, ...]:
    """In the order of the program's own list."""
    begin = (
        b"HTTP/1.1 200 OK\r\ndate: Wed, 01 Jan 2025 00:00:00 GMT\r\nserver: uvicorn\r\n"
        b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return (
        _whole(),
        begin + _event(choices=_choice({"role": "assistant", "content": ""})),
        _event(choices=_choice({"content": SENT})),
        _event(choices=_choice({"content": ""}, "stop")),
        _event(choices=[], usage=_USAGE),
        _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    )


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
