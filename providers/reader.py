"""
Reads answers in the OpenAI dialect: chunks of a stream, whole answers, embeddings.

A reader says what it saw and never raises; what makes no sense is an error like any other. Each
event is parsed once.

Hot: `StreamReader.read` runs once an event, so the usual event, one choice with one delta, goes
through few calls.
"""

import base64
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from gateway.contract.errors import ProviderError, ProviderFailed, ProviderGarbled
from gateway.contract.provider import Seen, Usage

MAX_TOKENS: Final = 1 << 31
"""A count above it is a fault of the upstream's."""
BYTES_PER_TOKEN: Final = 4
"""Of a whole answer without usage, about."""

_PROMPT_PARTS: Final = {
    "cached_tokens": "cached",
    "audio_tokens": "audio_prompt",
    "cache_write_tokens": "cache_written",  # OpenAI, OpenRouter and most hosts
    "cache_creation_tokens": "cache_written",  # LiteLLM
    "cache_creation_input_tokens": "cache_written",  # Alibaba's
}
_COMPLETION_PARTS: Final = {"reasoning_tokens": "reasoning", "audio_tokens": "audio_completion"}
"""What a report calls the parts of a count, and what they are called here."""

Named = Callable[[Any], ProviderError]
"""What an `error` in an answer means."""


class _Reader(ABC):
    """Parses once, names what the upstream says went wrong, and never raises."""

    def __init__(self, named: Named) -> None:
        self._named = named

    def read(self, data: bytes) -> Seen:
        """Read one event's data, or the whole body."""
        seen = Seen()
        try:
            payload = seen.payload = json_object(data)
            if payload.get("error") or payload.get("object") == "error":
                raise self._named(payload)
            self._note(payload, seen)
        except ProviderError as error:
            seen.error = error
        return seen

    @abstractmethod
    def _note(self, payload: dict[str, Any], seen: Seen) -> None:
        """What the answer says; raises ProviderError where it makes no sense."""


class StreamReader(_Reader):
    """Reads a streamed chat or completion."""

    def __init__(self, named: Named) -> None:
        super().__init__(named)
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    @property
    def complete(self) -> bool:
        """Every choice that was seen has its finish reason, and one was seen."""
        return bool(self._finished) and self._begun <= self._finished

    def read(self, data: bytes) -> Seen:
        """Read one event's data."""
        return Seen(done=True) if data[:6] == b"[DONE]" else super().read(data)

    def _note(self, payload: dict[str, Any], seen: Seen) -> None:
        usage = payload.get("usage")
        if usage is not None:
            seen.usage = usage_of(usage, payload.get("service_tier"))
        choices = payload.get("choices")
        if choices:
            for choice in _list(choices):
                self._choice(choice, seen)
            seen.plain = (
                len(choices) == seen.pieces == 1 and usage is None and not seen.finish_reasons
            )

    def _choice(self, choice: Any, seen: Seen) -> None:
        if type(choice) is not dict:
            raise _garbled("a choice is not an object")
        index = choice.get("index", 0)
        if type(index) is not int:
            raise _garbled("an index is not an integer")
        self._begun.add(index)
        if _says(choice):
            seen.content = True
            seen.pieces += 1
        reason = choice.get("finish_reason")
        if reason:
            _note_finish(reason, seen)
            self._finished.add(index)


class WholeReader(_Reader):
    """Reads a whole chat or completion."""

    complete = False

    def _note(self, payload: dict[str, Any], seen: Seen) -> None:
        usage = seen.usage = usage_of(payload.get("usage"), payload.get("service_tier"))
        choices = _list(payload.get("choices"))
        for choice in choices:
            if type(choice) is not dict:
                raise _garbled("a choice is not an object")
            said = choice.get("message") or choice.get("text")
            if usage is not None and type(said) is dict and said.get("content"):
                seen.content = True  # with usage, nobody needs to know how much
            else:
                _weigh(said, seen)
            if reason := choice.get("finish_reason"):
                _note_finish(reason, seen)
        self.complete = len(seen.finish_reasons) == len(choices) > 0


class EmbeddingReader(_Reader):
    """Reads embeddings; where `as_base64`, vectors that came as numbers are turned into it."""

    complete = False

    def __init__(self, named: Named, *, as_base64: bool) -> None:
        super().__init__(named)
        self._as_base64 = as_base64

    def _note(self, payload: dict[str, Any], seen: Seen) -> None:
        items = _list(payload.get("data"))
        if not items:
            raise _garbled("no embeddings")
        for item in items:
            if type(item) is not dict or not item.get("embedding"):
                raise _garbled("an item without an embedding")
            if self._as_base64 and type(item["embedding"]) is list:
                item["embedding"] = packed(item["embedding"])
                seen.translated = True
        seen.usage = usage_of(payload.get("usage"))
        seen.content = self.complete = True


def json_object(data: bytes) -> dict[str, Any]:
    """
    The JSON object in `data`.

    Raises:
        ProviderGarbled: there is none.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise _garbled("not JSON") from None
    if type(value) is not dict:
        raise _garbled("not a JSON object")
    return value


def usage_of(usage: Any, tier: Any = None) -> Usage | None:
    """
    The tokens reported, None where the report is missing or makes no sense; `tier` is what the
    answer says of its service.
    """
    if type(usage) is not dict:
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if completion is None and type(prompt) is type(total := usage.get("total_tokens")) is int:
        completion = total - prompt  # embeddings have no tokens of their own
    if not type(prompt) is type(completion) is int:  # a bool is an int, too
        return None
    if not (0 <= prompt <= MAX_TOKENS and 0 <= completion <= MAX_TOKENS):
        return None
    found = Usage(prompt, completion)
    if details := usage.get("prompt_tokens_details"):
        _note_parts(details, _PROMPT_PARTS, prompt, found)
    if details := usage.get("completion_tokens_details"):
        _note_parts(details, _COMPLETION_PARTS, completion, found)
    if type(tier) is str and tier != "default":
        found.service_tier = tier
    return found


def packed(vector: list[Any]) -> str:
    """
    A vector as OpenAI's base64: 32-bit floats, least significant byte first.

    Raises:
        ProviderGarbled: it holds something else than numbers of that size.
    """
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        raise _garbled("an embedding is not a list of numbers") from None


def _garbled(told: str) -> ProviderGarbled:
    return ProviderGarbled(told)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise _garbled("choices or data are not an array")
    return value


def _says(choice: dict[str, Any]) -> bool:
    """Whether a chunk's choice has any non-empty field of a delta but its role."""
    delta = choice.get("delta")
    if delta is None:
        return bool(choice.get("text"))
    if type(delta) is not dict:
        raise _garbled("a delta is not an object")
    if delta.get("content"):  # the usual one, at a quarter of the price
        return True
    return any(value and name != "role" for name, value in delta.items())


def _note_finish(reason: Any, seen: Seen) -> None:
    if type(reason) is not str:
        raise _garbled("a finish reason is not a string")
    if reason == "abort":
        raise ProviderFailed("the upstream aborted its answer", code="upstream_aborted")
    seen.content = True
    seen.finish_reasons += (reason,)


def _note_parts(details: Any, fields: Mapping[str, str], whole: int, usage: Usage) -> None:
    """Of several names for one part the largest counts, and none is more than the whole."""
    if type(details) is not dict:
        return
    for name, part in details.items():
        if part and type(part) is int and name in fields:  # most are 0
            field = fields[name]
            setattr(usage, field, max(getattr(usage, field), min(part, whole)))


def _weigh(said: Any, seen: Seen) -> None:
    size = _text_bytes(said)
    seen.pieces += -(-size // BYTES_PER_TOKEN)
    seen.content = seen.content or size > 0


def _text_bytes(said: Any) -> int:
    """Bytes of what a message says, in whatever field but its role."""
    match said:
        case None | "":
            return 0
        case str():
            return len(said.encode(errors="replace"))
        case dict():
            fields = [value for name, value in said.items() if value and name != "role"]
            try:
                return sum(len(orjson.dumps(value)) for value in fields)
            except TypeError:  # it reads deeper than it writes
                raise _garbled("a message is nested too deeply") from None
        case _:
            raise _garbled("a message is not an object")
