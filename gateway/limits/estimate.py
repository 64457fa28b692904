"""
How many tokens a request may use, before anyone has counted them.

Rates are reserved by an estimate: bytes of text by a ratio, a constant for each message and for
each part that is no text. What a request turns out to use beyond it is counted and charged when
it is settled. Money needs an upper bound, which is `bound`'s.

Total over any JSON, and hot: once a request, in time linear in the body but for embedded media,
of which only the first bytes are looked at.
"""

from collections.abc import Mapping
from typing import Any

from ..contract.provider import Operation

BYTES_PER_TOKEN = 3
"""
UTF-8 bytes of text in a token. English prose has 4 to 5 under common vocabularies, code and JSON
3 to 4, Chinese and Japanese about 3: low enough that most requests are reserved in full.
"""

MESSAGE = 4
"""Tokens that a chat template adds to a message."""

PART = 1_100
"""Tokens of an image, sound, video or file, whatever its size: an image in high detail."""

MARGIN = 64
"""Tokens that an answer may pass its cap by before it is cut."""

_TEXTS: dict[Operation, tuple[str, frozenset[str]]] = {
    "chat": ("messages", frozenset({"tools", "functions", "response_format"})),
    "completion": ("prompt", frozenset({"suffix"})),
    "embedding": ("input", frozenset()),
}
"""Where the text of an operation is, and where there may be more of it."""
TEXT_PARTS = frozenset({"text", "refusal", "input_text", "output_text", "thinking"})
"""Types of content that are text and nothing else."""
_MEDIA = "data:"


def prompt_tokens(operation: Operation, body: Mapping[str, Any]) -> int:
    """An estimate, at least 1; exact where the request holds token ids. Never raises."""
    name, more = _TEXTS[operation]
    text = body.get(name)
    tokens = MESSAGE * len(text) if operation == "chat" and type(text) is list else 0
    further = () if more.isdisjoint(body) else [[body[each]] for each in more if each in body]
    size = 0
    waiting: list[Any] = [text if type(text) is list else [text], *further]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is dict:
            if "type" in item and _is_media(item):
                tokens += PART
                continue
            size += len("".join(item))
            inside = item.values()
        elif kind is list and not (item and isinstance(item[0], int)):
            inside = item
        else:
            tokens += _other(item)
            continue
        for each in inside:
            if type(each) is not str:
                waiting.append(each)
            elif each.startswith(_MEDIA):
                tokens += PART
            else:
                size += len(each) if each.isascii() else utf8_size(each)
    return max(1, tokens - -size // BYTES_PER_TOKEN)


def named_cap(operation: Operation, body: Mapping[str, Any]) -> int:
    """Tokens that the request itself allows each choice; 0 where it names no maximum."""
    if operation == "embedding":
        return 0
    return _number(body.get("max_completion_tokens")) or _number(body.get("max_tokens"))


def choices(operation: Operation, body: Mapping[str, Any]) -> int:
    """How many answers are made at once, each as long as the cap allows; 0 for embeddings."""
    if operation == "embedding":
        return 0
    wanted = _number(body["n"]) or 1 if "n" in body else 1
    if operation == "completion":
        wanted = max(wanted, _number(body.get("best_of")))
        wanted *= _prompts(body.get("prompt"))
    return wanted


def _other(item: object) -> int:
    """Tokens of what holds no text: each of a list's token ids is one, and so is a number."""
    if isinstance(item, list):
        return len(item)
    return int(item is not None)


def utf8_size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    # A lone surrogate is legal JSON and no UTF-8.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _is_media(item: Mapping[str, Any]) -> bool:
    """A content part that is no text: told by its type, which names the field beside it."""
    kind = item.get("type")
    return isinstance(kind, str) and kind not in TEXT_PARTS and _holds_media(item.get(kind))


def _holds_media(content: object) -> bool:
    match content:
        case {"url": str()} | {"data": str()} | {"file_data": str()} | {"file_id": str()}:
            return True
        case str():
            return content.startswith((_MEDIA, "http:", "https:"))
        case _:
            return False


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _prompts(prompt: object) -> int:
    match prompt:
        case [str() | list(), *_]:
            return len(prompt)
        case _:
            return 1
