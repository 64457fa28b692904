"""
A chat answer on the wire, whole or as server-sent events, in vLLM's words and order.

`events` is lazy: what a client that left would have been sent is never made. Each event says how
many tokens it stands for; the sum is the usage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

import orjson

from .answer import Choice, Model
from .dialect import ChatBody, StreamOptions
from .text import split

DONE = b"data: [DONE]\n\n"

Event = tuple[bytes, int]
"""One server-sent event and the tokens that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """An answer that is settled and not yet sent."""

    id: str
    created: int
    model: str
    streamed: bool
    options: StreamOptions
    prompt_tokens: int
    choices: tuple[Choice, ...]

    @property
    def completion_tokens(self) -> int:
        """Of all choices together."""
        return sum(choice.tokens for choice in self.choices)

    @property
    def finishes(self) -> tuple[str, ...]:
        """The finish reason of each choice."""
        return tuple(choice.finish for choice in self.choices)

    def aborted(self, after: int) -> "ChatReply":
        """The same, each choice broken off by the server after so many tokens."""
        return replace(self, choices=tuple(choice.aborted(after) for choice in self.choices))

    def whole(self) -> bytes:
        """The body of an answer that is no stream."""
        return orjson.dumps(
            {
                "id": self.id,
                "object": "chat.completion",
                "created": self.created,
                "model": self.model,
                "choices": [
                    {
                        "index": index,
                        "message": self._message(choice, index),
                        "logprobs": None,
                        "finish_reason": choice.finish,
                        "stop_reason": choice.stop,
                        "token_ids": None,
                        "routed_experts": None,
                    }
                    for index, choice in enumerate(self.choices)
                ],
                "service_tier": None,
                "system_fingerprint": None,
                "usage": usage(self.prompt_tokens, self.completion_tokens),
                "prompt_logprobs": None,
                "prompt_token_ids": None,
                "prompt_text": None,
                "kv_transfer_params": None,
                "ec_transfer_params": None,
                "metrics": None,
            }
        )

    def events(self) -> Iterator[Event]:
        """All events, `[DONE]` included; choices take turns."""
        told = [Tally(self.options, self.prompt_tokens) for _ in self.choices]
        heads = [self._head(index) for index in range(len(self.choices))]
        for head, tally in zip(heads, told, strict=True):
            yield head + b'{"role":"assistant","content":""}' + tally.tail(0, _OPEN, _PROMPT), 0
        for index, choice in enumerate(self.choices):
            if choice.call is not None:
                yield heads[index] + self._opening(choice.call, index) + told[index].tail(0, _ON), 0
        for row in zip_longest(*(_turns(choice) for choice in self.choices)):
            for head, tally, turn in zip(heads, told, row, strict=True):
                if turn is not None:
                    delta, end, tokens = turn
                    yield head + delta + tally.tail(tokens, end), tokens
        if self.options.include_usage:
            yield self._usage(), 0
        yield DONE, 0

    def _message(self, choice: Choice, index: int) -> dict[str, object]:
        message: dict[str, object] = {
            "role": "assistant",
            "content": choice.text if choice.call is None else None,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
        }
        if choice.call is not None:
            function = {"name": choice.call, "arguments": choice.text}
            call = {"id": self._call_id(index), "type": "function", "function": function}
            message["tool_calls"] = [call]
        return message | {"reasoning": None}

    def _head(self, index: int) -> bytes:
        return b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            orjson.dumps(self.id),
            self.created,
            orjson.dumps(self.model),
        ) + (b'"choices":[{"index":%d,"delta":' % index)

    def _opening(self, function: str, index: int) -> bytes:
        call = {
            "id": self._call_id(index),
            "type": "function",
            "index": 0,
            "function": {"name": function},
        }
        return orjson.dumps({"content": None, "tool_calls": [call]})

    def _call_id(self, index: int) -> str:
        return f"chatcmpl-tool-{self.id.removeprefix('chatcmpl-')}{index:x}"

    def _usage(self) -> bytes:
        chunk = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [],
            "usage": usage(self.prompt_tokens, self.completion_tokens),
        }
        return b"data: " + orjson.dumps(chunk) + b"\n\n"


class Tally:
    """
    How the events of one choice end: its finish reason, and usage where that was asked for.

    As with vLLM, usage inside a stream counts the one choice; the last event counts them all.
    """

    def __init__(self, options: StreamOptions, prompt_tokens: int) -> None:
        self._continuous = bool(options.include_usage and options.continuous_usage_stats)
        self._prompt_tokens = prompt_tokens
        self._sent = 0

    def tail(self, tokens: int, end: bytes, last: bytes = b"") -> bytes:
        """
        The rest of an event that stands for so many tokens: `end` closes the choice, and
        `last` the event.
        """
        self._sent += tokens
        if not self._continuous:
            return b',"logprobs":null%b}]%b}\n\n' % (end, last)
        told = orjson.dumps(usage(self._prompt_tokens, self._sent))
        return b',"logprobs":null%b}],"usage":%b%b}\n\n' % (end, told, last)


def chat_reply(
    body: ChatBody, *, model: Model, name: str, reply_id: str, created: int
) -> ChatReply:
    """
    Settle the answer to a chat request.

    Raises:
        Refused: it does not fit into the model's context.
    """
    prompt = body.prompt()
    prompt_tokens = len(split(prompt))
    room = model.room(prompt_tokens, body.max_completion_tokens or body.max_tokens)
    return ChatReply(
        id=f"chatcmpl-{reply_id}",
        created=created,
        model=name,
        streamed=bool(body.stream),
        options=body.stream_options or StreamOptions(),
        prompt_tokens=prompt_tokens,
        choices=tuple(
            [model.chat(body, prompt, room=room, index=index) for index in range(body.n or 1)]
        ),
    )


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """vLLM's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def ending(choice: Choice) -> bytes:
    """The last fields of a choice that is finished."""
    return b',"finish_reason":%b,"stop_reason":%b' % (
        orjson.dumps(choice.finish),
        orjson.dumps(choice.stop),
    )


def _turns(choice: Choice) -> Iterator[tuple[bytes, bytes, int]]:
    form = b'{"content":%b}' if choice.call is None else _ARGUMENTS
    pieces = list(choice.pieces)
    last = form % orjson.dumps(pieces.pop()) if choice.ends_with_text else b"{}"
    for piece in pieces:
        yield form % orjson.dumps(piece), _ON, 1
    yield last, ending(choice) + b',"token_ids":null', choice.tokens - len(pieces)


_OPEN = b',"finish_reason":null'
_ON = b',"finish_reason":null,"token_ids":null'
_PROMPT = b',"prompt_token_ids":null,"prompt_text":null'
_ARGUMENTS = b'{"content":null,"tool_calls":[{"index":0,"function":{"arguments":%b}}]}'
