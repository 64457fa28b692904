"""
What the simulated model says: a pure function of its seed and the request.

An answer is settled before its first byte is sent, so a stream and a whole answer to the same
request hold the same text, the same calls and the same usage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
from pydantic import JsonValue

from .dialect import ChatBody, Function, Message, Named, Sampled
from .dice import digest
from .errors import Refused
from .schema import example
from .text import say, split


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the `n` answers: the pieces that are sent and the tokens that are counted."""

    pieces: Sequence[str]
    tokens: int
    finish: str
    stop: str | None = None
    call: str | None = None  # the function that the pieces are arguments for

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(self.pieces)

    @property
    def ends_with_text(self) -> bool:
        """
        Whether the last piece brings the finish reason, as where a limit or a stop word cuts the
        text; the end that a model finds by itself comes after the text, in an event of its own.
        """
        cut = self.finish == "length" or self.stop is not None
        return cut and self.call is None and bool(self.pieces)

    def aborted(self, after: int) -> "Choice":
        """The same, broken off by the server after so many tokens."""
        pieces = self.pieces[:after]
        return replace(self, pieces=pieces, tokens=len(pieces), finish="abort", stop=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What makes one simulated model answer as it does."""

    seed: int
    answer_tokens: int
    max_model_len: int

    def room(self, prompt_tokens: int, asked: int | None) -> int:
        """
        Tokens that an answer may have: what was asked for, or what the prompt leaves of the
        context if that is less.

        Raises:
            Refused: the prompt leaves nothing, or more was asked for than the context holds.
        """
        if asked is not None and asked > self.max_model_len:
            raise Refused(
                400,
                f"max_tokens={asked} cannot be greater than max_model_len={self.max_model_len}. "
                f"Please request fewer output tokens. (parameter=max_tokens, value={asked})",
                param="max_tokens",
            )
        left = self.max_model_len - prompt_tokens
        if left < 1:
            raise Refused(
                400,
                f"This model's maximum context length is {self.max_model_len} tokens. However, "
                f"your prompt contains at least {prompt_tokens} input tokens, which exceeds this "
                "limit even without any output tokens. Please reduce the length of the input "
                f"prompt. (parameter=input_tokens, value={prompt_tokens})",
                param="input_tokens",
            )
        return min(asked or left, left)

    def speak(
        self, body: Sampled, prompt: str, *, room: int, index: int, begun: str | None = ""
    ) -> Choice:
        """
        Plain text; `begun` is what the prompt has of it already, None where that can't be told.
        """
        left = self.answer_tokens - len(split(begun or ""))
        natural = room if body.ignore_eos else max(left, body.min_tokens or 0)
        pieces = say(self.seed, prompt, index=index, tokens=min(natural, room), goes_on=begun != "")
        cut = body.ignore_eos or natural > room
        return _stopped(pieces, body.stops(), "length" if cut else "stop")

    def chat(self, body: ChatBody, prompt: str, *, room: int, index: int) -> Choice:
        """Text, JSON or a tool call, as the request and its last message have it."""
        function = _called(body)
        if function is not None:
            finish = "stop" if isinstance(body.tool_choice, Named) else "tool_calls"
            arguments = self._json(function.parameters, prompt, index)
            return replace(_cut(arguments, room, finish), call=function.name)
        schema = _schema(body)
        if schema is not None:
            return _cut(self._json(schema, prompt, index), room, "stop")
        options = body.structured_outputs and body.structured_outputs.choice
        if options:
            drawn = digest(self.seed, prompt, index=index, size=1)[0]
            return _cut(options[drawn % len(options)], room, "stop")
        return self.speak(body, prompt, room=room, index=index, begun=body.begun())

    def _json(self, schema: dict[str, JsonValue], prompt: str, index: int) -> str:
        drawn = digest(self.seed, prompt, index=index, size=256)
        return orjson.dumps(example(schema, drawn)).decode()


def _called(body: ChatBody) -> Function | None:
    if not body.tools or body.tool_choice == "none":
        return None
    if isinstance(body.tool_choice, Named):
        name = body.tool_choice.function.name
        return next(tool.function for tool in body.tools if tool.function.name == name)
    if body.tool_choice == "required" or _asks_for_a_tool(body.messages[-1]):
        return body.tools[0].function
    return None


def _asks_for_a_tool(last: Message) -> bool:
    return last.role == "user" and "tool" in last.text().lower()


def _schema(body: ChatBody) -> dict[str, JsonValue] | None:
    own = body.structured_outputs and body.structured_outputs.json_
    if own:
        return _parsed(own) if isinstance(own, str) else own
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.json_schema is not None:
        return wanted.json_schema.schema_
    return {"type": "object", "properties": {"answer": {"type": "string"}}}


def _parsed(schema: str) -> dict[str, JsonValue]:
    try:
        parsed: JsonValue = orjson.loads(schema)
    except ValueError as error:
        raise Refused(400, f"structured_outputs.json: {error}") from error
    if not isinstance(parsed, dict):
        raise Refused(400, "structured_outputs.json is not a schema")
    return parsed


def _cut(text: str, room: int, finish: str) -> Choice:
    pieces = split(text)
    if len(pieces) > room:
        return Choice(pieces=pieces[:room], tokens=room, finish="length")
    return Choice(pieces=pieces, tokens=len(pieces), finish=finish)


def _stopped(pieces: list[str], stops: list[str], finish: str) -> Choice:
    text = "".join(pieces) if stops else ""
    found = [(text.index(stop), stop) for stop in stops if stop in text]
    if not found:
        return Choice(pieces=pieces, tokens=len(pieces), finish=finish)
    end, stop = min(found, key=lambda place: place[0] + len(place[1]))
    kept = _first(pieces, end)
    return Choice(pieces=kept, tokens=_spanning(pieces, end + len(stop)), finish="stop", stop=stop)


def _first(pieces: list[str], length: int) -> list[str]:
    kept = []
    for piece in pieces:
        if length <= 0:
            break
        kept.append(piece[:length])
        length -= len(piece)
    return kept


def _spanning(pieces: list[str], length: int) -> int:
    return len(_first(pieces, length))
