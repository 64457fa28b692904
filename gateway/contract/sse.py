"""
Server-sent events, split out of bytes that may be cut anywhere.

An event keeps its bytes as they came, so that a relay can pass it on untouched, beside the
`data` that a reader wants. A partial event is never handed out, and what is held of one is
bounded.

Hot: `feed` runs once a read, its loop once an event. Nothing is scanned twice, so an event that
arrives byte by byte costs no more than its length.
"""

import re
from typing import Final, NamedTuple

from .errors import ProviderGarbled

MAX_EVENT: Final = 1 << 20
"""Bytes of the longest event that is read."""

_BOM: Final = b"\xef\xbb\xbf"
# A carriage return ends an event only when the byte after it is known, or when the line before
# ended in a lone one too: otherwise the same bytes, cut elsewhere, would give other events.
_END: Final = re.compile(rb"\n\n|\r\r|\n\r\n|\n\r(?=[^\n])")
_BLANK: Final = re.compile(rb"\n|\r\n|\r(?=[^\n])")
_LONGEST_END: Final = 3


class Event(NamedTuple):
    """
    One event. `raw` is all of it, the blank line included; `data` its data lines joined by line
    feeds, None where there are none: a comment, a lone field or an empty line.
    """

    raw: bytes
    data: bytes | None


class SSEDecoder:
    """Feed it what arrives; the `raw` of its events and what it holds add up to the input."""

    __slots__ = ("_is_begun", "_scanned", "held")

    def __init__(self) -> None:
        self.held = bytearray()
        """What has come of an event that is not whole yet."""
        self._scanned = 0
        self._is_begun = False

    @property
    def pending(self) -> bool:
        """Whether part of an event is held: an end of the input now cuts it off."""
        return bool(self.held.strip(b"\r\n"))

    def feed(self, chunk: bytes) -> list[Event]:
        """
        The events that `chunk` completes, in order.

        Raises:
            ProviderGarbled: an event is longer than `MAX_EVENT`; the decoder is of no more use.
        """
        if (
            self._is_begun
            and not self.held
            and chunk[-2:] == b"\n\n"
            and len(chunk) <= MAX_EVENT
            and b"\r" not in chunk
            and b"\n\n\n" not in chunk
            and chunk[0] != 10
        ):
            # The usual case: whole events, `data: {...}` each.
            return [
                Event(part + b"\n\n", part[6:])
                if part[:6] == b"data: " and b"\n" not in part
                else Event(part + b"\n\n", _data(part))
                for part in chunk[:-2].split(b"\n\n")
            ]
        return self._split(chunk)

    def _split(self, chunk: bytes) -> list[Event]:
        held = self.held
        held += chunk
        events: list[Event] = []
        start = 0
        search_from = self._scanned
        while match := _BLANK.match(held, start) or _END.search(held, max(start, search_from)):
            end = match.end()
            _check_size(end - start)
            events.append(self._event(bytes(held[start:end])))
            start = end
        del held[:start]
        _check_size(len(held))
        self._scanned = max(0, len(held) - _LONGEST_END)
        return events

    def _event(self, raw: bytes) -> Event:
        if self._is_begun:
            return Event(raw, _data(raw))
        self._is_begun = True
        return Event(raw, _data(raw.removeprefix(_BOM)))


def _data(event: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if _is_data(line)]
    return b"\n".join(lines) if lines else None


def _is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line == b"data"


def _check_size(size: int) -> None:
    if size > MAX_EVENT:
        raise ProviderGarbled("an event is too large", code="upstream_event_too_large")
