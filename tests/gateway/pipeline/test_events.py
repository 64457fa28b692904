"""An answer as it arrives: nothing lost, nothing changed, nothing held for long."""

from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import ProviderDisconnected, ProviderError, ProviderGarbled
from gateway.contract.provider import Reader, Seen, Usage
from gateway.pipeline.events import MAX_BARREN, EventStream, Piece, Tally

END = b"data: end\n\n"
SHUT = b"data: shut\n\n"
FAIL = b"data: fail\n\n"


class Words:
    """A reader of a toy dialect: `end` ends it, `shut` completes it, all but `-` is content."""

    complete = False

    def read(self, data: bytes) -> Seen:
        match data:
            case b"end":
                return Seen(done=True)
            case b"fail":
                return Seen(error=ProviderGarbled("no sense"))
            case b"shut":
                self.complete = True
                return Seen(content=True, finish_reasons=("stop",))
            case b"-":
                return Seen()
            case _:
                return Seen(content=True, pieces=1, usage=Usage(len(data), 1))


async def arriving(*chunks: bytes | ProviderError) -> AsyncIterator[bytes]:
    for each in chunks:
        if isinstance(each, ProviderError):
            raise each
        yield each


def event(word: str) -> bytes:
    return b"data: " + word.encode() + b"\n\n"


def stream_of(
    *chunks: bytes | ProviderError, reader: Reader | None = None, most: int = 0
) -> tuple[EventStream, Tally]:
    tally = Tally()
    return EventStream(arriving(*chunks), reader or Words(), tally, most), tally


async def all_of(events: EventStream) -> list[list[Piece]]:
    """Every batch, until the answer is complete."""
    batches = []
    while batch := await events.next():
        batches.append(batch)
    return batches


words = st.lists(st.sampled_from(["-", "a", "bc", "déf"]), max_size=8)


@given(words, st.data())
async def test_events_come_out_as_they_went_in_wherever_they_are_cut(
    said: list[str], data: st.DataObject
) -> None:
    whole = b"".join(map(event, said)) + b": comment\n\n" + SHUT + END
    cuts = sorted(data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=6)))
    events, tally = stream_of(*[whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])])

    batches = await all_of(events)

    assert all(batches)
    assert b"".join(raw for batch in batches for raw, _ in batch) == whole
    assert tally.pieces == sum(word != "-" for word in said)
    assert tally.finish_reasons == ("stop",)
    assert await events.next() == []


async def test_events_that_arrive_together_are_handed_out_together() -> None:
    events, _ = stream_of(event("a") + event("b"), event("c")[:4], event("c")[4:] + SHUT, END)

    assert [len(batch) for batch in await all_of(events)] == [2, 2, 1]


async def test_what_is_counted_is_the_latest_usage() -> None:
    events, tally = stream_of(event("a"), event("bcd"), SHUT, END)

    await all_of(events)

    assert tally.usage == Usage(3, 1)
    assert tally.pieces == 2
    assert tally.content


@given(words.filter(lambda said: not any(word != "-" for word in said)))
async def test_content_is_waited_for(said: list[str]) -> None:
    before = list(map(event, said))
    events, tally = stream_of(*before, event("a") + event("-"), event("b"), SHUT, END)

    held = await events.until_content(1000)

    assert tally.content
    assert [raw for raw, _ in held] == [*before, event("a"), event("-")]
    assert [len(batch) for batch in await all_of(events)] == [1, 1, 1]


@given(size=st.integers(1, 200))
async def test_what_is_held_back_is_bounded(size: int) -> None:
    silent = event("-")
    events, _ = stream_of(*[silent] * 20, event("a"), SHUT, END)
    fits = 20 * len(silent) + len(event("a")) <= size

    if fits:
        assert len(await events.until_content(size)) == 21
    else:
        with pytest.raises(ProviderGarbled) as raised:
            await events.until_content(size)
        assert raised.value.code == "upstream_response_too_large"


@pytest.mark.parametrize("empty", [b"\n", b":\n\n"])
async def test_of_empty_events_few_are_held_back(empty: bytes) -> None:
    events, _ = stream_of(*[empty] * MAX_BARREN, event("a"), SHUT, END)

    with pytest.raises(ProviderGarbled) as raised:
        await events.until_content(1 << 20)

    assert raised.value.code == "upstream_response_too_large"


class Silent(Words):
    """Complete from the start, and yet without content."""

    complete = True


async def test_a_stream_that_is_complete_without_content_is_none() -> None:
    events, _ = stream_of(event("-"), END, reader=Silent())

    with pytest.raises(ProviderGarbled) as raised:
        await events.until_content(1000)

    assert raised.value.code == "upstream_incomplete"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ((FAIL,), "upstream_invalid_event"),
        ((ProviderDisconnected("reset"),), "upstream_disconnected"),
        ((), "upstream_disconnected"),
        ((b"data: sh",), "upstream_disconnected"),
        ((END,), "upstream_incomplete"),
        ((b"x" * (1 << 20) + b"x",), "upstream_event_too_large"),
        ((SHUT + b"data: half",), "upstream_disconnected"),
    ],
)
async def test_any_other_end_is_an_error_after_what_came_before(
    end: tuple[bytes | ProviderError, ...], code: str
) -> None:
    events, _ = stream_of(event("a"), *end)
    handed_out = []

    async def hand_out() -> None:
        while batch := await events.next():
            handed_out.extend(batch)

    with pytest.raises(ProviderError) as raised:
        await hand_out()

    assert raised.value.code == code
    assert handed_out[0][0] == event("a")
    assert not any(b"half" in raw or raw == END for raw, _ in handed_out)


async def test_a_failure_stays_one_however_often_it_is_asked_after() -> None:
    events, _ = stream_of(event("a") + FAIL + event("b"), event("c"))

    assert len(await events.next()) == 1
    for _ in range(2):
        with pytest.raises(ProviderGarbled):
            await events.next()


async def test_an_answer_that_was_closed_when_complete_gets_its_end_marker() -> None:
    events, _ = stream_of(SHUT)

    batches = await all_of(events)

    assert [raw for batch in batches for raw, _ in batch] == [SHUT, b"data: [DONE]\n\n"]
    assert batches[-1][0][1].done


def counting(calls: list[str], word: str) -> Callable[[], None]:
    return lambda: calls.append(word)


async def test_the_upstream_is_watched_while_it_is_waited_for() -> None:
    calls: list[str] = []
    events, _ = stream_of(event("a")[:3], event("a")[3:], SHUT, END)
    events.watch(counting(calls, "waiting"), counting(calls, "waited"))

    await events.next()
    assert calls == ["waiting", "waited"] * 2

    await all_of(events)
    assert calls == ["waiting", "waited"] * 4  # nobody waits for the end of the transfer


async def test_who_stops_watching_is_told_once_more_that_the_wait_is_over() -> None:
    calls: list[str] = []
    events, _ = stream_of(event("a"), SHUT, END)
    events.watch(counting(calls, "waiting"), counting(calls, "waited"))

    events.unwatch()
    await all_of(events)

    assert calls == ["waited"]


async def test_a_stream_that_passes_its_cap_is_cut_before_the_event_that_does() -> None:
    events, tally = stream_of(event("a") + event("b"), event("c"), SHUT + END, most=2)

    assert [raw for raw, _ in await events.next()] == [event("a"), event("b")]
    with pytest.raises(ProviderGarbled) as raised:
        await events.next()

    assert raised.value.code == "upstream_exceeded_max_tokens"
    assert tally.pieces == 2
