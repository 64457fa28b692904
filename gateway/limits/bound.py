"""
The most tokens that a prompt may come to: what money is reserved by.

A vocabulary over bytes makes no more tokens than a text has bytes, so every text of the request
counts with its UTF-8 bytes: messages, tools and schemas, and fields that are not known here, since
the upstream may put them into the prompt. Prose comes out about four times too high; the
difference goes back when the request is settled. On top comes what a chat template adds. Token
ids count one each. Media have no such bound: they count what the model's settings say, and
without that the request is refused.

A tokeniser that rewrites text before it splits it can make more of rare characters; what passes
the bound is counted and charged all the same.

Total over any JSON but for that refusal, and hot: once a request, in time linear in the body.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..contract.errors import InvalidRequest
from ..contract.provider import Operation
from .estimate import TEXT_PARTS, utf8_size

TEMPLATE = 512
"""
Tokens that a chat template brings along: default system prompts and the instructions for tools.
Qwen's, Llama's and gpt-oss's own have 20 to 300.
"""

MESSAGE = 16
"""Tokens around a message: role, ends, the wrapper of a tool's answer. Templates use 4 to 12."""

NODE = 8
"""Tokens around a value in JSON that a template writes out: quotes, commas, an indented line."""

_NUMBER = 24
"""Characters of the longest float."""

_NO_PROMPT = frozenset(
    {
        "model", "messages", "n", "best_of", "max_tokens", "max_completion_tokens", "stream",
        "stream_options", "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop",
        "logit_bias", "logprobs", "top_logprobs", "seed", "user", "metadata", "service_tier",
        "store", "echo", "parallel_tool_calls", "encoding_format", "dimensions",
    }
)  # fmt: skip
"""Fields that no upstream puts into a prompt; messages are read by themselves."""


def input_bound(
    operation: Operation,
    body: Mapping[str, Any],
    *,
    image_tokens: int | None = None,
    audio_tokens: int | None = None,
) -> int:
    """
    Tokens of the prompt at most, for prices and strict limits.

    `image_tokens` and `audio_tokens` are what one such part may come to, None where nobody knows.

    Raises:
        InvalidRequest: the request has a part that nothing bounds; `param` names it.
    """
    walk = _Walk(image_tokens, audio_tokens)
    for name, value in body.items():
        if name in _NO_PROMPT or value is None:
            continue
        if (ids := _token_ids(name, value)) is not None:
            walk.tokens += ids + NODE
        else:
            walk.text(value)
    messages = body.get("messages")
    if operation == "chat" or messages is not None:
        walk.tokens += TEMPLATE
    if isinstance(messages, list):
        walk.messages(messages)
    return max(1, walk.tokens)


@dataclass(slots=True)
class _Walk:
    """Adds up what it is shown."""

    image: int | None
    audio: int | None
    tokens: int = 0
    _waiting: list[Any] = field(default_factory=list)

    def messages(self, messages: list[Any]) -> None:
        self.tokens += MESSAGE * len(messages)
        for index, message in enumerate(messages):
            if type(message) is not dict:
                self.text(message)
                continue
            for name, value in message.items():
                if name == "audio" and value is not None:  # an earlier answer, by its id
                    self._media(("audio",), f"messages[{index}].audio")
                elif name == "content" and type(value) is list:
                    self._parts(value, f"messages[{index}].content")
                elif type(value) is str:
                    self.tokens += NODE + utf8_size(value)
                else:
                    self.text(value)

    def text(self, value: Any) -> None:
        """Every text and number inside, whatever the shape."""
        waiting = self._waiting
        waiting.append(value)
        while waiting:
            item = waiting.pop()
            self.tokens += NODE
            if type(item) is str:
                self.tokens += utf8_size(item)
            elif type(item) is dict:
                self.tokens += sum(map(utf8_size, item))
                waiting += item.values()
            elif type(item) is list:
                waiting += item
            elif type(item) is int:
                self.tokens += item.bit_length() // 3 + 2  # its digits, and more
            else:
                self.tokens += _NUMBER

    def _parts(self, parts: list[Any], place: str) -> None:
        for index, part in enumerate(parts):
            if type(part) is not dict or part.get("type") in TEXT_PARTS:
                self.text(part)
                continue
            kind = part.get("type")
            # vLLM takes a part without a type by the names of its fields.
            names = (kind,) if isinstance(kind, str) else tuple(part)
            self._media(names, f"{place}[{index}]")

    def _media(self, names: Iterable[str], place: str) -> None:
        joined = " ".join(names)
        costs = []
        if "image" in joined:
            costs.append(self.image)
        if "audio" in joined:
            costs.append(self.audio)
        # Ready-made embeddings are as long as the client likes; a film or a file, too.
        endless = not costs or any(word in joined for word in ("embed", "video", "file"))
        if endless or None in costs:
            raise InvalidRequest(
                "Nothing bounds the tokens of this part, which your limits need.",
                param=place,
                code="unbounded_input",
            )
        self.tokens += sum(cost for cost in costs if cost is not None)


def _token_ids(name: str, value: Any) -> int | None:
    """How many token ids a plain prompt or input has, None where it is text."""
    if name not in ("prompt", "input") or type(value) is not list:
        return None
    if _all(int, value):
        return len(value)
    if _all(list, value) and all(_all(int, each) for each in value):
        return sum(len(each) + NODE for each in value)
    return None


def _all(kind: type, values: list[Any]) -> bool:
    return set(map(type, values)) == {kind}
