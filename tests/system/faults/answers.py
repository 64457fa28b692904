"""What upstreams say, as bytes: events and whole answers of the OpenAI dialect, good and bad."""

import json
from collections.abc import Iterable
from typing import Any

from tests.support.faulty import chunk, chunked, chunked_head, response

WORDS = ("Once", " upon", " a", " time", ".")
TEXT = "".join(WORDS)
PROMPT_TOKENS, COMPLETION_TOKENS = 7, len(WORDS)
"""Tokens that upstreams say they have read and said."""
HEAD = chunked_head()


def event(payload: Any) -> bytes:
    """One event with that as its JSON."""
    return b"data: %s\n\n" % json.dumps(payload).encode()


def part(delta: Any, finish: str | None = None, **fields: Any) -> bytes:
    """One event with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    named = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "demo-model"}
    return event({**named, "choices": [choice], **fields})


def usage(prompt: Any = PROMPT_TOKENS, completion: Any = COMPLETION_TOKENS) -> dict[str, Any]:
    """A report of tokens."""
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


ROLE = part({"role": "assistant", "content": ""})
SAID = tuple(part({"content": word}) for word in WORDS)
STOP = part({}, "stop")
USAGE = event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], **usage()})
DONE = b"data: [DONE]\n\n"
STORY = (ROLE, *SAID, STOP, USAGE, DONE)
"""A stream that is whole."""


def stream(*events: bytes) -> bytes:
    """A whole response of these events; of a story where none is given."""
    return chunked(*(events or STORY))


def begun(*events: bytes) -> bytes:
    """The same, whose body has not ended."""
    return HEAD + b"".join(map(chunk, events))


def whole(text: str = TEXT, finish: str = "stop", **fields: Any) -> bytes:
    """A whole answer."""
    return as_json(answer(text, finish, **fields))


def answer(text: str = TEXT, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    """The JSON of a whole answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    named = {"id": "chatcmpl-1", "object": "chat.completion", "model": "demo-model"}
    return {**named, "choices": [choice], **usage(), **fields}


def as_json(payload: Any, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A response that is JSON."""
    pairs = (("content-type", "application/json"), *headers)
    return response(json.dumps(payload).encode(), status=status, headers=pairs)


def refusal(status: int, *headers: tuple[str, str], **error: Any) -> bytes:
    """An error in OpenAI's shape."""
    told = {"message": f"it is {status}", "type": None, "param": None, "code": None, **error}
    return as_json({"error": told}, f"{status} Some Reason", headers)
