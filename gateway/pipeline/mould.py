"""
Events of a stream that differ in one text and in nothing else.

Nearly every event of a stream is one like the last with another word in it. Where that is
certain, the next one need not be parsed: what it says is known, and so is what its client gets.

It is certain, or there is no mould. One is taken of an event whose reader promises that any other
text would have meant the same (`Seen.plain`), and only if parsing it with another text in the
same place gives the same object but for that text. What fits has the same bytes before and after
a JSON string that is not empty.

Hot: `fits` and `cast` once an event; `mould_of` once or twice a stream.
"""

from typing import Any, Final

import orjson

from ..contract.provider import Seen
from ..contract.sse import MAX_EVENT

_BEGIN: Final = b"data:"
_END: Final = b"\n\n"


class Mould:
    """Of one stream. `seen` is what each event of it says; its payload is nobody's to read."""

    __slots__ = (
        "_after",
        "_before",
        "_sent_after",
        "_sent_before",
        "_string",
        "_text",
        "seen",
    )

    def __init__(self, came: tuple[bytes, bytes], sent: tuple[bytes, bytes]) -> None:
        """What is before and after the text, as it comes and as it is sent on."""
        self._before, self._after = came
        self._sent_before, self._sent_after = sent
        start, end = len(self._before), -len(self._after)
        self._text = slice(start, end)
        self._string = slice(start - 1, end + 1)  # with its quotation marks
        self.seen = Seen(content=True, pieces=1)

    def fits(self, event: bytes) -> bool:
        """Whether these bytes are one event, and one of these."""
        if not (event.startswith(self._before) and event.endswith(self._after)):
            return False
        try:  # there must be one string between them, and no more
            text = orjson.loads(event[self._string])
        except orjson.JSONDecodeError:
            return False
        return bool(text) and len(event) <= MAX_EVENT

    def cast(self, event: bytes) -> bytes:
        """What the client gets of an event that fits."""
        return self._sent_before + event[self._text] + self._sent_after


def mould_of(came: bytes, sent: bytes) -> Mould | None:
    """The mould of an event that came and was sent on so, None where not every text would fit."""
    outer, inner = _around_text(came), _around_text(sent)
    return None if outer is None or inner is None else Mould(outer, inner)


def _around_text(event: bytes) -> tuple[bytes, bytes] | None:
    """What is before and after the text of an event, the quotation marks with it."""
    if event[:5] != _BEGIN or event[-2:] != _END or event.count(b"\n") != 2 or b"\r" in event:
        return None
    payload = orjson.loads(event[5:])
    fields, name = _place(payload["choices"][0])
    text = fields.get(name)
    if type(text) is not str:
        return None
    key, value = orjson.dumps(name), orjson.dumps(text)
    start = event.find(value, event.find(key) + len(key)) + 1
    if not start:  # it is written in another way than here
        return None
    before, after = event[:start], event[start + len(value) - 2 :]
    fields[name] = other = "." if text != "." else ","
    same = orjson.loads(before[5:] + other.encode() + after) == payload
    return (before, after) if same else None


def _place(choice: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The fields that hold a choice's text, and the name of the one, empty if that is not clear."""
    delta = choice.get("delta")
    if delta is None:
        return choice, "text"
    told = [name for name, value in delta.items() if value and name != "role"]
    return delta, told[0] if len(told) == 1 else ""
