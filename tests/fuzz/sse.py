"""Server-sent events: whatever arrives, nothing is lost, made up, or different for its cutting."""

import re
from unittest.mock import patch

from gateway.contract.errors import ProviderGarbled
from gateway.contract.sse import Event, SSEDecoder
from tests.fuzz.cuts import cut, salted

SMALL = 48
"""Bytes of the longest event, where the bound itself is tried."""
_BOM = b"\xef\xbb\xbf"
_LINES = re.compile(rb"\r\n|\n|\r")

SEEDS = salted(
    b'data: {"a": 1}\n\ndata: [DONE]\n\n',
    b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n: d\n\r\r\n",
    _BOM + b"data: a\n\n" + _BOM + b"data: b\n\n",
    b"id: 1\nevent: e\nretry: 9\ndata: \xc3\xa9\ndata:\ndata\ndatabase: x\n\n",
    b"\n\n\r\n\r\r\n\n: ping\n\n",
    b"data: " + b"a" * (SMALL - 8) + b"\n\n",
    b"data: " + b"a" * SMALL,
    b"data: \xed\xa0\x80\xff\0\x1b[31m\n\n",
)


def fuzz_sse(data: bytes) -> None:
    """
    The events of a stream are the same however it is cut, their bytes are those of the stream,
    and their data is what another reading of the standard says.
    """
    stream, pieces = cut(data)
    for bound in (SMALL, 1 << 20):
        with patch("gateway.contract.sse.MAX_EVENT", bound):
            events, held, refused = _read(pieces)
            whole = _read([stream])
            single = _read([stream[i : i + 1] for i in range(len(stream))])
        assert refused == whole[2] == single[2], "refused for its cutting"
        assert events == single[0][: len(events)], "other events"
        for event in events:
            assert len(event.raw) <= bound
        if not refused:
            assert (events, held) == whole[:2] == single[:2], "other events"
            assert b"".join(event.raw for event in events) + held == stream
            assert len(held) <= bound
        for place, event in enumerate(events):
            _check(event, is_first=place == 0)


def _read(pieces: list[bytes]) -> tuple[list[Event], bytes, bool]:
    """The events, what is held of another, and whether one was too long."""
    decoder = SSEDecoder()
    events: list[Event] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
    except ProviderGarbled:
        return events, b"", True
    held = bytes(decoder.held)
    assert decoder.pending == bool(held.strip(b"\r\n"))
    return events, held, False


def _check(event: Event, *, is_first: bool) -> None:
    """Line by line, as the standard has it: fields are what stands before the first colon."""
    raw = event.raw
    if is_first and raw.startswith(_BOM):
        raw = raw.removeprefix(_BOM).lstrip(b"\r\n") or b"\n"  # a line, though an empty one
    *lines, last = _LINES.split(raw)
    assert last == b"", "it ends in the middle of a line"
    assert lines.pop() == b"", "it has no blank line at its end"
    assert b"" not in lines, "it is two events"
    fields = [line.partition(b":") for line in lines]
    said = [value.removeprefix(b" ") for name, _, value in fields if name == b"data"]
    assert event.data == (b"\n".join(said) if said else None)
