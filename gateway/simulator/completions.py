"""
A text completion on the wire, whole or as server-sent events.

Every prompt of the request has `n` choices; their indexes run on from prompt to prompt.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

import orjson

from .answer import Choice, Model
from .chat import DONE, Event, Tally, ending, usage
from .dialect import MAX_CHOICES, CompletionBody, StreamOptions
from .errors import Refused
from .text import detokenize, split


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionReply:
    """An answer that is settled and not yet sent; `echoes` stand before each choice's text."""

    id: str
    created: int
    model: str
    streamed: bool
    options: StreamOptions
    prompt_tokens: int
    choices: tuple[Choice, ...]
    echoes: tuple[str, ...]

    @property
    def completion_tokens(self) -> int:
        """Of all choices together."""
        return sum(choice.tokens for choice in self.choices)

    @property
    def finishes(self) -> tuple[str, ...]:
        """The finish reason of each choice."""
        return tuple(choice.finish for choice in self.choices)

    def aborted(self, after: int) -> "CompletionReply":
        """The same, each choice broken off by the server after so many tokens."""
        return replace(self, choices=tuple(choice.aborted(after) for choice in self.choices))

    def whole(self) -> bytes:
        """The body of an answer that is no stream."""
        choices: list[dict[str, object]] = [
            {
                "index": index,
                "text": echo + choice.text,
                "logprobs": None,
                "finish_reason": choice.finish,
                "stop_reason": choice.stop,
                "token_ids": None,
                "prompt_logprobs": None,
                "prompt_token_ids": None,
                "routed_experts": None,
            }
            for index, (echo, choice) in enumerate(zip(self.echoes, self.choices, strict=True))
        ]
        return orjson.dumps(
            self._chunk(choices)
            | {
                "service_tier": None,
                "system_fingerprint": None,
                "usage": usage(self.prompt_tokens, self.completion_tokens),
                "kv_transfer_params": None,
                "ec_transfer_params": None,
                "metrics": None,
            }
        )

    def events(self) -> Iterator[Event]:
        """All events, `[DONE]` included; choices take turns."""
        told = [Tally(self.options, self.prompt_tokens) for _ in self.choices]
        heads = [self._head(index) for index in range(len(self.choices))]
        for head, tally, echo in zip(heads, told, self.echoes, strict=True):
            if echo:
                yield head + orjson.dumps(echo) + tally.tail(0, _ON + _IDS), 0
        for row in zip_longest(*(_turns(choice) for choice in self.choices)):
            for head, tally, turn in zip(heads, told, row, strict=True):
                if turn is not None:
                    text, end, tokens = turn
                    yield head + text + tally.tail(tokens, end), tokens
        if self.options.include_usage:
            counted = usage(self.prompt_tokens, self.completion_tokens)
            last = self._chunk([]) | {"usage": counted}
            yield b"data: " + orjson.dumps(last) + b"\n\n", 0
        yield DONE, 0

    def _chunk(self, choices: list[dict[str, object]]) -> dict[str, object]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _head(self, index: int) -> bytes:
        start = orjson.dumps(self._chunk([])).removesuffix(b"]}")
        return b'data: %b{"index":%d,"text":' % (start, index)


def completion_reply(
    body: CompletionBody, *, model: Model, name: str, reply_id: str, created: int
) -> CompletionReply:
    """
    Settle the answer to a completion request.

    Raises:
        Refused: a prompt does not fit into the model's context or is no text.
    """
    prompts = texts(body.prompt)
    choices_each = body.n or 1
    if len(prompts) * choices_each > MAX_CHOICES:
        raise Refused(400, f"At most {MAX_CHOICES} choices in one request.", param="prompt")
    counts = [len(split(prompt)) for prompt in prompts]
    choices = [
        model.speak(body, prompt, room=model.room(tokens, body.max_tokens), index=index, begun=None)
        for prompt, tokens in zip(prompts, counts, strict=True)
        for index in range(choices_each)
    ]
    return CompletionReply(
        id=f"cmpl-{reply_id}",
        created=created,
        model=name,
        streamed=bool(body.stream),
        options=body.stream_options or StreamOptions(),
        prompt_tokens=sum(counts),
        choices=tuple(choices),
        echoes=tuple(
            [prompt if body.echo else "" for prompt in prompts for _ in range(choices_each)]
        ),
    )


def texts(given: str | list[int] | list[str] | list[list[int]]) -> list[str]:
    """
    The prompts of a request, given as text or as tokens.

    Raises:
        Refused: there is none, or tokens that are no text.
    """
    if isinstance(given, str):
        return [given]
    if not given:
        raise Refused(400, "A prompt is required.", param="prompt")
    if isinstance(given[0], int):
        return [_text(given)]
    return [each if isinstance(each, str) else _text(each) for each in given]


def _text(ids: object) -> str:
    if not isinstance(ids, list):
        raise Refused(400, "A prompt is text or a list of tokens.", param="prompt")
    try:
        return detokenize(ids)
    except ValueError as error:
        raise Refused(400, str(error), param="prompt") from error


def _turns(choice: Choice) -> Iterator[tuple[bytes, bytes, int]]:
    pieces = list(choice.pieces)
    last = pieces.pop() if choice.ends_with_text else ""
    for piece in pieces:
        yield orjson.dumps(piece), _ON + _IDS, 1
    yield orjson.dumps(last), ending(choice) + _IDS, choice.tokens - len(pieces)


_ON = b',"finish_reason":null,"stop_reason":null'
_IDS = b',"prompt_token_ids":null,"token_ids":null'
