"""What fits a mould is told without being read, and told right; all else does not fit."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import ProviderError, ProviderFailed, ProviderGarbled
from gateway.contract.provider import Seen
from gateway.contract.sse import MAX_EVENT, SSEDecoder
from gateway.inbound.rename import PRICE, Renamer
from gateway.pipeline import Mould, mould_of
from gateway.pipeline.events import EventStream, Tally
from providers.reader import StreamReader

DONE = b"data: [DONE]\n\n"
COMPACT: dict[str, Any] = {"separators": (",", ":")}
TEXT = st.text(max_size=6) | st.sampled_from(
    ["a", ".", ",", "content", '"', "\\", '"}}', "\n", "\n\ndata: ", "é", "\ud7ff", "\U0001f600"]
)
FIELD = st.sampled_from(["content", "reasoning_content", "refusal", "role", "x"])
DELTA = st.dictionaries(FIELD, st.none() | TEXT | st.just([1]), max_size=3)
CHOICE = st.fixed_dictionaries(
    {"index": st.integers(0, 1)},
    optional={
        "delta": DELTA | st.none(),
        "text": TEXT,
        "logprobs": st.none() | st.fixed_dictionaries({"content": TEXT}),
        "finish_reason": st.none() | st.just("stop"),
    },
)
CHUNK = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE, min_size=1, max_size=2)},
    optional={
        "model": st.just("up"),
        "id": TEXT,
        "content": TEXT,
        "usage": st.none() | st.just({"prompt_tokens": 1, "completion_tokens": 2}),
    },
)
STYLE: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        COMPACT,
        {**COMPACT, "ensure_ascii": False},
        {},
        {"sort_keys": True},
    ]
)


def event(payload: Any, **style: Any) -> bytes:
    return (
        b"data: " + json.dumps(payload, **(style or {"separators": (",", ":")})).encode() + b"\n\n"
    )


def chunk(text: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "1", "model": "up", "choices": [choice], **more}


def read(raw: bytes) -> Seen:
    return StreamReader(lambda _: ProviderFailed("told")).read(raw[6:-2])


def taken(raw: bytes) -> Mould:
    mould = mould_of(raw, raw)
    assert mould is not None
    return mould


@given(CHUNK, CHUNK, TEXT, STYLE)
def test_what_fits_says_what_it_would_have_said_had_it_been_read(
    first: dict[str, Any], other: dict[str, Any], text: str, style: dict[str, Any]
) -> None:
    came = event(first, **style)
    seen = read(came)
    if not seen.plain:
        return
    sent = event({**first, "model": "public"})
    mould = mould_of(came, sent)
    if mould is None:
        return
    alike = [event(_with_text(first, each), **style) for each in (text, "a", "")]
    for raw in (came, *alike, event(other, **style)):
        if mould.fits(raw):
            assert [each.raw for each in SSEDecoder().feed(raw)] == [raw]
            payload = orjson.loads(raw[6:])
            again = read(raw)
            assert (again.content, again.pieces, again.plain) == (True, 1, True)
            assert (again.usage, again.finish_reasons, again.error) == (None, (), None)
            assert orjson.loads(mould.cast(raw)[6:]) == {**payload, "model": "public"}
            assert (mould.seen.content, mould.seen.pieces) == (True, 1)
    assert mould.fits(came)
    assert mould.fits(alike[1])
    assert not mould.fits(alike[2])


def _with_text(payload: dict[str, Any], text: str) -> dict[str, Any]:
    """The same event with another text in its one choice."""
    [choice] = payload["choices"]
    delta = choice.get("delta")
    if delta is None:
        return {**payload, "choices": [{**choice, "text": text}]}
    changed = {name: text if value and name != "role" else value for name, value in delta.items()}
    return {**payload, "choices": [{**choice, "delta": changed}]}


@pytest.mark.parametrize("text", ['"', "\\", "\n\ndata: {}", "é", "\U0001f600", "a" * 3000, " "])
@pytest.mark.parametrize("style", [{}, {"ensure_ascii": False}])
def test_any_text_fits(text: str, style: dict[str, Any]) -> None:
    mould = taken(event(chunk("a"), **COMPACT, **style))
    raw = event(chunk(text), **COMPACT, **style)

    assert mould.fits(raw)
    assert orjson.loads(mould.cast(raw)[6:]) == chunk(text)


def test_a_blank_before_the_object_may_be_left_out() -> None:
    first, second = [event(chunk(text)).replace(b"data: ", b"data:") for text in "ab"]

    assert taken(first).fits(second)


@pytest.mark.parametrize(
    "raw",
    [
        event(chunk("")),
        event(chunk(None)),
        event(chunk("a") | {"id": "2"}),
        event(chunk("a")) * 2,
        event(chunk("a"))[:-1],
        event(chunk("a"))[1:],
        event(chunk("a")) + DONE,
        event(chunk("a")).replace(b'"a"', b'"a\n"'),
        event(chunk("a")).replace(b'"a"', b'"\xff"'),
        event(chunk("a")).replace(b'"a"', b'"\\ud800"'),
        event(chunk("a")).replace(b'"a"', b'"a","x":"b"'),
        event(chunk("a")).replace(b'"a"', b'"'),
        event(chunk("a")).replace(b'"a"', b""),
        event(chunk("a" * MAX_EVENT)),
        b"",
    ],
)
def test_what_is_anything_else_does_not_fit(raw: bytes) -> None:
    assert not taken(event(chunk("a"))).fits(raw)


@pytest.mark.parametrize(
    "came",
    [
        event(chunk("a")).replace(b"data: ", b"date: "),
        b"id: 1\n" + event(chunk("a")),
        event(chunk("a")).replace(b"\n", b"\r\n"),
        event(chunk("é")),  # written as \u00e9
        event(chunk("a")).replace(b'"content"', b'"content":"a","content"'),
        event(chunk("a", content="a")).replace(b'"id":"1"', b'"content":"a"'),
        event({"choices": [{"delta": {"content": "a", "reasoning_content": "a"}}]}),
        event({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}),
    ],
)
def test_no_mould_is_taken_where_another_text_might_not_fit(came: bytes) -> None:
    assert mould_of(came, event(chunk("a"))) is None
    assert mould_of(event(chunk("a")), came) is None


def test_no_mould_is_taken_of_an_event_that_is_not_passed_on() -> None:
    assert mould_of(event(chunk("a")), b"") is None


async def _arriving(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for each in pieces:
        yield each


async def _relayed(
    pieces: list[bytes], *, hide_usage: bool, uses_mould: bool, most: int
) -> tuple[list[Any], tuple[Any, ...], str]:
    """What a client gets of a stream that comes in those pieces, what was counted, and its end."""
    reader, tally = StreamReader(lambda _: ProviderFailed("told")), Tally()
    stream = EventStream(_arriving(pieces), reader, tally, most)
    renamer = Renamer("public", hide_usage=hide_usage)
    sent, end = b"", ""
    try:
        while batch := await stream.next(renamer.mould if uses_mould else None):
            sent += b"".join(renamer.event(raw, seen) for raw, seen in batch)
    except ProviderError as error:
        end = str(error.code)
    told = [orjson.loads(each.raw[6:]) for each in SSEDecoder().feed(sent) if each.raw != DONE]
    return told, (tally.content, tally.pieces, tally.usage, tally.finish_reasons), end


@given(st.lists(TEXT, max_size=12), STYLE, st.booleans(), st.data())
async def test_a_stream_is_the_same_with_a_mould_and_without(
    texts: list[str], style: dict[str, Any], has_null: bool, data: st.DataObject
) -> None:
    more = {"usage": None} if has_null else {}
    end = chunk("", **more)
    end["choices"][0]["finish_reason"] = "stop"
    events = [event(each, **style) for each in [*(chunk(text, **more) for text in texts), end]]
    whole = b"".join([*events, DONE])
    pieces = [*events, DONE]
    if data.draw(st.booleans()):
        cuts = sorted(data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=6)))
        pieces = [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)]) if a < b]
    hide_usage = data.draw(st.booleans())
    most = data.draw(st.sampled_from([0, 3]))

    with_one, without = [
        await _relayed(pieces, hide_usage=hide_usage, uses_mould=uses_mould, most=most)
        for uses_mould in (True, False)
    ]

    assert with_one == without


async def test_an_event_that_fits_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    loads = orjson.loads

    def counting(data: bytes) -> Any:
        parsed.append(data)
        return loads(data)

    monkeypatch.setattr(orjson, "loads", counting)
    events = [event(chunk(f"word {number}")) for number in range(50)]
    stream = EventStream(_arriving(events), StreamReader(lambda _: ProviderFailed("")), Tally())
    renamer = Renamer("public", hide_usage=True)

    for _ in events:
        [(raw, seen)] = await stream.next(renamer.mould)
        assert b'"public"' in renamer.event(raw, seen)

    assert [each for each in parsed if len(each) > 20] == parsed[:5]  # one read, two places, twice
    assert parsed[5:] == [b'"word %d"' % number for number in range(1, 50)]


def _told(renamer: Renamer, *payloads: dict[str, Any]) -> int:
    """How many of these events had to be read."""
    count = 0
    for payload in payloads:
        raw = event(payload)
        mould = renamer.mould
        if mould is not None and mould.fits(raw):
            renamer.event(raw, mould.seen)
        else:
            renamer.event(raw, read(raw))
            count += 1
    return count


def test_a_mould_that_fits_no_more_is_replaced_at_once() -> None:
    renamer = Renamer("public", hide_usage=False)
    first = chunk("a")
    first["choices"][0]["delta"]["role"] = "assistant"

    assert _told(renamer, first, *[chunk("a")] * PRICE) == 2
    for second in range(20):
        assert _told(renamer, *[chunk("a", created=second)] * PRICE) == 1


def test_where_none_fits_hardly_any_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def counting(came: bytes, sent: bytes) -> Mould | None:
        taken.append(came)
        return mould_of(came, sent)

    monkeypatch.setattr("gateway.inbound.rename.mould_of", counting)
    padded = [chunk("a", obfuscation=str(number)) for number in range(20 * PRICE)]

    assert _told(Renamer("public", hide_usage=False), *padded) == len(padded)
    assert len(taken) <= 2 + 20


def test_an_answer_of_another_dialect_has_no_mould() -> None:
    renamer = Renamer("public", hide_usage=False)

    renamer.event(b"event: x\n\n", Seen(chunk("a"), translated=True, plain=True))

    assert renamer.mould is None


async def test_an_end_within_an_event_is_noticed_after_a_mould_was_used() -> None:
    events = [event(chunk("a")), event(chunk("b")), event(chunk("c"))[:-1]]
    stream = EventStream(_arriving(events), StreamReader(lambda _: ProviderFailed("")), Tally())
    mould = taken(events[0])

    assert [raw for _ in range(2) for raw, _ in await stream.next(mould)] == events[:2]
    with pytest.raises(ProviderError):
        await stream.next(mould)


async def test_what_is_held_of_an_event_comes_before_one_that_fits() -> None:
    half = b": not\n"
    events = [event(chunk("a")), half, event(chunk("b"))]
    stream = EventStream(_arriving(events), StreamReader(lambda _: ProviderGarbled("")), Tally())
    mould = taken(events[0])

    assert await stream.next(mould) == [(events[0], mould.seen)]
    [(raw, seen)] = await stream.next(mould)
    assert raw == half + events[2]
    assert seen is not mould.seen
