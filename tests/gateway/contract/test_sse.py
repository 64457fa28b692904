"""Properties of the event decoder: cuts, line endings, bounds and cost."""

from itertools import chain, pairwise, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import ProviderGarbled
from gateway.contract.sse import MAX_EVENT, Event, SSEDecoder

BOM = b"\xef\xbb\xbf"
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
lines = st.one_of(
    st.sampled_from(
        [b"data: {}", b"data:x", b"data", b"data:", b": comment", b"id: 1", b"event: e", b"", b""]
    ),
    st.binary(max_size=6),
    st.text(max_size=4).map(lambda text: b"data: " + text.encode()),
)
streams = st.lists(st.tuples(lines, ends), max_size=20).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


def decode(*chunks: bytes) -> list[Event]:
    decoder = SSEDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def data(*chunks: bytes) -> list[bytes]:
    return [event.data for event in decode(*chunks) if event.data is not None]


@given(stream=st.one_of(streams, streams.map(lambda s: BOM + s)), cuts=st.lists(st.integers(0, 99)))
def test_any_cutting_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    chunks = [stream[a:b] for a, b in pairwise(at)]
    decoder = SSEDecoder()

    events = [event for chunk in chunks for event in decoder.feed(chunk)]

    assert events == decode(stream)
    assert events == decode(*(bytes([byte]) for byte in stream))
    raw = b"".join(event.raw for event in events)
    assert stream.startswith(raw)
    assert decoder.pending == bool(stream[len(raw) :].strip(b"\r\n"))


@given(stream=streams)
def test_whole_events_read_alike_on_the_fast_and_on_the_careful_path(stream: bytes) -> None:
    opening = b": begins\n\n"
    assert decode(opening, stream) == decode(*((opening + stream)[i:][:1] for i in range(9999)))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_ending_ends_an_event_at_once(end: bytes) -> None:
    stream = b"data: 1" + end + end + b"data: 2" + end + end

    assert data(stream) == [b"1", b"2"]
    assert b"".join(event.raw for event in decode(stream)) == stream


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"id: 7\nevent: x\nretry: 10\ndata: a\n\n", b"a"),
        (b": c\ndata: a\n\n", b"a"),
        (b": only a comment\n\n", None),
        (b"event: ping\n\n", None),
        (b"database: a\n\n", None),
        (b"\n", None),
        (BOM + b"data: a\n\n", b"a"),
    ],
)
def test_fields_are_read_as_the_standard_says(event: bytes, expected: bytes | None) -> None:
    assert decode(event) == [Event(event, expected)]


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    assert data(b"data: a\n\n", BOM + b"data: b\n\n") == [b"a"]


def test_part_of_an_event_is_pending_and_never_handed_out() -> None:
    decoder = SSEDecoder()

    assert decoder.feed(b"data: 1\n\ndata: 2\n") == [Event(b"data: 1\n\n", b"1")]
    assert decoder.pending
    assert decoder.feed(b"\n") == [Event(b"data: 2\n\n", b"2")]
    assert not decoder.pending


def test_feeding_nothing_gives_nothing() -> None:
    assert decode(b"", b"data: 1\n\n", b"") == [Event(b"data: 1\n\n", b"1")]


@pytest.mark.parametrize("size", [MAX_EVENT + 1, 3 * MAX_EVENT])
def test_an_event_without_end_is_refused_at_the_bound(size: int) -> None:
    chunks = chain(repeat(b"a" * 65_536, size // 65_536), [b"a"])

    with pytest.raises(ProviderGarbled) as raised:
        decode(*chunks)
    assert raised.value.code == "upstream_event_too_large"


@pytest.mark.parametrize("opening", [b"", b": begins\n\n"])
def test_a_whole_event_over_the_bound_is_refused_and_one_below_is_read(opening: bytes) -> None:
    most = b"data: " + b"a" * (MAX_EVENT - 8) + b"\n\n"

    assert decode(opening, most)[-1].raw == most
    with pytest.raises(ProviderGarbled):
        decode(opening, b"data: a" + most[6:])


def test_an_event_fed_byte_by_byte_is_scanned_once() -> None:
    decoder = SSEDecoder()

    for fed in range(1, 10_000):
        decoder.feed(b"a")
        assert decoder._scanned >= fed - 3
