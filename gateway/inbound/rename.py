"""
Writes the public model name into what an upstream sends, and changes nothing else.

The name's place is learnt from the first event. Later events begin with the same bytes, so they
are cut there and joined again without being encoded anew; one that does not is re-serialised. Of
those that differ in their text alone a mould is made, and what fits it is not even parsed.

Hot: `event` runs once an event: two comparisons and a concatenation.
"""

import re
from typing import Any

import orjson

from ..contract.errors import ProviderGarbled
from ..contract.provider import Seen
from ..pipeline import Mould, mould_of

PRICE = 32
"""Events of an answer for each mould but the first two: some hosts tell the time, or worse."""

_MODEL = re.compile(rb'"model"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")')


class Renamer:
    """
    For one answer. `hide_usage`: the client did not ask for the usage that the gateway asked
    for, so neither the last event that brings it nor a null in its place is passed on. `mould` is
    of the events that come now.
    """

    __slots__ = ("_hide_usage", "_name", "_prefix", "_quoted", "_renamed", "_saved", "mould")

    def __init__(self, name: str, *, hide_usage: bool) -> None:
        self._name = name
        self._quoted = orjson.dumps(name)
        self._hide_usage = hide_usage
        self._prefix: bytes | None = None
        self._renamed = b""
        self._saved = 2 * PRICE
        self.mould: Mould | None = None

    def event(self, raw: bytes, seen: Seen) -> bytes:
        """
        The bytes for the client of an event that came as `raw`; empty where it gets none.

        Raises:
            ProviderGarbled: it has to be written anew, and is nested too deeply for that.
        """
        mould = self.mould
        if mould is not None and seen is mould.seen:
            self._saved += 1
            return mould.cast(raw)
        sent = self._renamed_event(raw, seen)
        if seen.plain and not seen.translated:
            self._saved += 1
            if self._saved > PRICE:
                self._saved -= PRICE
                self.mould = mould_of(raw, sent) or mould
        return sent

    def _renamed_event(self, raw: bytes, seen: Seen) -> bytes:
        payload = seen.payload
        if payload is None:
            return raw
        if self._hide_usage and "usage" in payload:
            if not payload.get("choices"):
                return b""
            del payload["usage"]
            return self._anew(payload)
        if seen.translated:
            return self._anew(payload)
        if self._prefix is not None and raw.startswith(self._prefix):
            return self._renamed + raw[len(self._prefix) :]
        return self._first(raw, payload)

    def _first(self, raw: bytes, payload: dict[str, Any]) -> bytes:
        if "model" not in payload:
            return raw
        span = _span(raw)
        if span is None or not raw[: span[0]].splitlines()[-1].startswith(b"data:"):
            return self._anew(payload)
        self._prefix = raw[: span[1]]
        self._renamed = raw[: span[0]] + self._quoted
        return self._renamed + raw[span[1] :]

    def _anew(self, payload: dict[str, Any]) -> bytes:
        if "model" in payload:
            payload["model"] = self._name
        return b"data: " + _written(payload) + b"\n\n"


def renamed_whole(content: bytes, seen: Seen, name: str) -> bytes:
    """
    A whole answer's bytes for the client.

    Raises:
        ProviderGarbled: as for `Renamer.event`.
    """
    payload = seen.payload
    if payload is None:
        return content
    if seen.translated:
        return _written({**payload, "model": name})
    span = _span(content)
    if span is not None:
        return content[: span[0]] + orjson.dumps(name) + content[span[1] :]
    return _written({**payload, "model": name}) if "model" in payload else content


def _written(payload: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(payload)
    except TypeError:
        raise ProviderGarbled("nested too deeply to be written again") from None


def _span(data: bytes) -> tuple[int, int] | None:
    """
    Where the value of the top-level `model` stands, if it comes before any nested value.

    A key's quotation mark is never escaped, and with one brace and no bracket before it the key
    is the outermost object's.
    """
    found = _MODEL.search(data)
    if found is None:
        return None
    before = data[: found.start()].rstrip()
    if not before.endswith((b"{", b",")) or before.count(b"{") != 1 or b"[" in before:
        return None
    return found.span(1)
