"""
What ten kilobytes of a client may cost, in memory and in the loop's time.

JSON of ten kilobytes is forty times as much in Python's objects, whoever reads it; while it is
checked it may be twice that. A hundred times is what others call a fault.
"""

import time
import tracemalloc
from contextlib import suppress
from itertools import count

import pytest

from gateway.contract.errors import InvalidRequest
from gateway.inbound.parse import parse
from gateway.inbound.routes import INFERENCE
from gateway.limits.bound import input_bound
from gateway.limits.estimate import prompt_tokens

SIZE = 10 * 1024
MOST_MEMORY = 90
"""Bytes for each that came."""
MOST_TIME = 0.05
"""Seconds of the processor."""

_CHAT = b'{"model":"m","messages":[{"role":"user","content":"a"}]'


def _filled(begin: bytes, item: bytes, end: bytes) -> bytes:
    """As many of the item as there is room for; a `%d` in it is a number that is new each time."""
    items: list[bytes] = []
    size = len(begin) + len(end)
    for number in count():
        made = item.replace(b"%d", b"%d" % number)
        size += len(made) + 1
        if size > SIZE:
            return begin + b",".join(items) + end
        items.append(made)
    raise AssertionError("never ends")


BODIES = {
    "lists": _filled(_CHAT + b',"x":[', b"[]", b"]}"),
    "objects": _filled(_CHAT + b',"x":[', b"{}", b"]}"),
    "objects-with-a-field": _filled(_CHAT + b',"x":[', b'{"":1}', b"]}"),
    "deep": _filled(_CHAT + b',"x":[', b"[" * 60 + b"]" * 60, b"]}"),
    "too-deep": b"[" * SIZE,
    "numbers": _filled(_CHAT + b',"x":[', b"999", b"]}"),
    "fractions": _filled(_CHAT + b',"x":[', b"1.5", b"]}"),
    "one-number": _CHAT + b',"seed":' + b"9" * 9_000 + b"}",
    "texts": _filled(_CHAT + b',"x":[', b'"%d"', b"]}"),
    "one-wide-text": _CHAT + b',"x":"' + b"a" * 9_000 + "\U0001f600".encode() + b'"}',
    "escapes": _CHAT + b',"x":"' + b"\\u0000" * 1_600 + b'"}',
    "unknown-fields": _filled(_CHAT + b",", b'"%d":0', b"}"),
    "fields-of-an-unknown-one": _filled(_CHAT + b',"x":{', b'"%d":0', b"}}"),
    "biases": _filled(_CHAT + b',"logit_bias":{', b'"%d":0', b"}}"),
    "messages": _filled(b'{"model":"m","messages":[', b'{"role":"user","content":""}', b"]}"),
    "messages-that-are-none": _filled(b'{"model":"m","messages":[', b"{}", b"]}"),
    "parts": _filled(b'{"model":"m","messages":[{"role":"user","content":[', b"{}", b"]}]}"),
    "texts-in-parts": _filled(
        b'{"model":"m","messages":[{"role":"user","content":[',
        b'{"type":"text","text":""}',
        b"]}]}",
    ),
    "tools": _filled(_CHAT + b',"tools":[', b'{"type":"a"}', b"]}"),
    "calls": _filled(
        b'{"model":"m","messages":[{"role":"assistant","tool_calls":[', b'{"id":""}', b"]}]}"
    ),
    "tokens": _filled(b'{"model":"m","prompt":[', b"%d", b"]}"),
    "prompts-of-one-token": _filled(b'{"model":"m","prompt":[', b"[9]", b"]}"),
    "empty-prompts": _filled(b'{"model":"m","prompt":[', b"[]", b"]}"),
    "prompts-that-are-none": _filled(b'{"model":"m","prompt":[', b"{}", b"]}"),
    "inputs": _filled(b'{"model":"m","input":[', b'"%d"', b"]}"),
    "one-field-over-and-over": _filled(b"{", b'"model":"m"', b"}"),
}


def _take(content: bytes) -> None:
    """What is done with a request until its limits are asked, as any of the operations."""
    for route in INFERENCE:
        with suppress(InvalidRequest):
            body = parse(content, route.request)
            prompt_tokens(route.operation, body)
            input_bound(route.operation, body)


@pytest.mark.parametrize("name", BODIES)
def test_ten_kilobytes_cost_little_memory(name: str) -> None:
    content = BODIES[name]
    _take(content)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    _take(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most - before <= MOST_MEMORY * len(content)


@pytest.mark.parametrize("name", BODIES)
def test_ten_kilobytes_hold_the_loop_up_for_no_time(name: str) -> None:
    times = []
    for _ in range(3):
        begin = time.thread_time()
        _take(BODIES[name])
        times.append(time.thread_time() - begin)

    assert min(times) <= MOST_TIME
