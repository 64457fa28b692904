import json
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.contract.errors import ProviderGarbled
from gateway.contract.provider import Seen
from gateway.contract.sse import SSEDecoder
from gateway.inbound.rename import Renamer, renamed_whole

NAMES = st.sampled_from(["chat", "org/other:latest", 'na"ïve\\', "\u2028", "{[,", '"model":"x"'])
TEXT = st.text(max_size=12) | st.sampled_from(
    ['"model":"a"', ',"model":"a"', '{"model": "a"}', "\\", '\\"', "{", "[", '","model', "data: "]
)
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "id", "x"]) | TEXT, inner, max_size=3)
    ),
    max_leaves=3,
)
OBJECT = st.dictionaries(
    st.sampled_from(["model", "id", "object", "created", "choices", "usage", "x"]) | TEXT,
    VALUE,
    max_size=5,
)
STYLES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"separators": (",", ":")},
        {},
        {"ensure_ascii": False},
        {"separators": (" ,  ", " : ")},
    ]
)
OFTEN = settings(deadline=None, max_examples=100)


def seen_of(payload: dict[str, Any] | None) -> Seen:
    return Seen(payload=None if payload is None else orjson.loads(orjson.dumps(payload)))


def event_of(payload: dict[str, Any], **style: Any) -> bytes:
    return b"data: " + json.dumps(payload, **style).encode() + b"\n\n"


def shown(raw: bytes) -> dict[str, Any]:
    """What a client reads in the one event that `raw` is."""
    decoder = SSEDecoder()
    (event,) = decoder.feed(raw)
    assert not decoder.pending
    assert event.data is not None
    parsed: dict[str, Any] = json.loads(event.data)
    return parsed


def renamed(payload: dict[str, Any], name: str) -> dict[str, Any]:
    return {**payload, "model": name} if "model" in payload else payload


def relayed(
    payloads: Iterable[dict[str, Any]], name: str = "chat", *, hide_usage: bool = False
) -> list[bytes]:
    renamer = Renamer(name, hide_usage=hide_usage)
    return [renamer.event(event_of(each), seen_of(each)) for each in payloads]


@OFTEN
@given(payloads=st.lists(OBJECT, min_size=1, max_size=4), name=NAMES, style=STYLES)
@example([{"x": {"model": "a"}, "model": "b"}], "chat", {})
@example([{"model": None, "x": {"model": "inner"}}], "chat", {})
@example([{"model": {"model": "inner"}}], "chat", {})
@example([{"model": ["a"], "x": 1}], "chat", {})
@example([{"x": '{"model": "a"', "model": "b"}], "chat", {})
@example([{"x": ',"model":"a"', "model": "b"}], "chat", {})
@example([{"model": 'a"\\', "id": "1"}, {"model": 'a"\\', "id": "2"}], "chat", {})
@example([{"model": "a"}, {"model": "ab"}, {"id": "1", "model": "a"}], "chat", {})
def test_an_events_object_is_the_same_but_for_its_model(
    payloads: list[dict[str, Any]], name: str, style: dict[str, Any]
) -> None:
    renamer = Renamer(name, hide_usage=False)
    for payload in payloads:
        raw = renamer.event(event_of(payload, **style), seen_of(payload))
        assert shown(raw) == renamed(payload, name)


@OFTEN
@given(payloads=st.lists(OBJECT, min_size=1, max_size=4), name=NAMES, style=STYLES)
def test_usage_that_was_not_asked_for_is_not_shown(
    payloads: list[dict[str, Any]], name: str, style: dict[str, Any]
) -> None:
    renamer = Renamer(name, hide_usage=True)
    for payload in payloads:
        raw = renamer.event(event_of(payload, **style), seen_of(payload))
        if "usage" in payload and not payload.get("choices"):
            assert raw == b""
        else:
            rest = {key: value for key, value in payload.items() if key != "usage"}
            assert shown(raw) == renamed(rest, name)


@OFTEN
@given(payload=OBJECT, name=NAMES, style=STYLES)
@example({"choices": [{"model": "inner"}], "model": "up"}, "chat", {})
@example({"x": {}, "model": "up"}, "chat", {"separators": (" ,  ", " : ")})
@example({"id": "model", "model": "up"}, "chat", {})
def test_a_whole_answer_is_the_same_but_for_its_model(
    payload: dict[str, Any], name: str, style: dict[str, Any]
) -> None:
    content = json.dumps(payload, **style).encode()

    whole = renamed_whole(content, seen_of(payload), name)

    assert json.loads(whole) == renamed(payload, name)


def test_a_translated_answer_is_what_its_reader_made_of_it() -> None:
    seen = Seen(payload={"object": "list"}, translated=True)

    whole = renamed_whole(b"another dialect", seen, "chat")

    assert json.loads(whole) == {"object": "list", "model": "chat"}


def test_what_is_no_object_passes_untouched() -> None:
    renamer = Renamer("chat", hide_usage=True)
    for raw in (b": keepalive\n\n", b"data: [DONE]\n\n", b"event: ping\r\n\r\n", b"\n"):
        assert renamer.event(raw, Seen()) == raw
    assert renamed_whole(b"as it came", Seen(), "chat") == b"as it came"


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"id":"1", "model" :  "up", "a":1.50, "b":"\\u00e9"}\n\n',
        b'data:{"model":"up","a":1e2}\r\n\r\n',
        b'id: 7\nevent: message\ndata: {"model":"up"}\n\n',
        b'data: {"model":"up"}\nid: 7\n\n',
    ],
)
def test_bytes_outside_the_models_value_stay_as_they_came(raw: bytes) -> None:
    renamer = Renamer("chat", hide_usage=False)
    for _ in range(3):
        sent = renamer.event(raw, seen_of({"model": "up"}))
        assert sent == raw.replace(b'"up"', b'"chat"')


@pytest.mark.parametrize(
    "raw",
    [
        b'event: {"model":"a"}\ndata: {"model":"up"}\n\n',
        b': {"model":"a"}\ndata: {"model":"up"}\n\n',
        b'data: {\ndata: "model":\ndata: "up"}\n\n',
        b'\xef\xbb\xbfdata: {"model":"up"}\n\n',
    ],
)
def test_only_the_data_of_an_event_names_a_model(raw: bytes) -> None:
    sent = Renamer("chat", hide_usage=False).event(raw, seen_of({"model": "up"}))

    (event,) = SSEDecoder().feed(sent)
    assert event.data is not None
    assert json.loads(event.data) == {"model": "chat"}


def test_an_event_is_neither_parsed_nor_serialised_where_its_beginning_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = {"loads": 0, "dumps": 0, "search": 0}

    class Counting:
        def __getattr__(self, name: str) -> Any:
            counts[name] += 1
            return getattr(orjson, name)

    monkeypatch.setattr("gateway.inbound.rename.orjson", Counting())
    chunk = {"id": "1", "model": "up", "choices": [{"delta": {"content": "x"}}]}
    relayed([chunk] * 100)
    assert counts["loads"] == 0
    assert counts["dumps"] == 1  # the name

    relayed([{"choices": [], "model": "up"}] * 100)
    assert counts["loads"] == 0
    assert counts["dumps"] == 1 + 1 + 100  # the model stands last: anew, once each


def test_an_event_that_is_nested_too_deeply_to_be_written_again_is_the_upstreams_fault() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    payload = {"choices": deep, "model": "up"}

    with pytest.raises(ProviderGarbled):
        Renamer("chat", hide_usage=False).event(event_of(payload), Seen(payload=payload))


@OFTEN
@given(data=st.data(), name=NAMES)
def test_a_stream_cut_anywhere_shows_the_same_objects(data: st.DataObject, name: str) -> None:
    chunks = [
        {"id": "1", "model": "up", "choices": [{"delta": {"content": data.draw(TEXT)}}]}
        for _ in range(3)
    ]
    stream = b"".join(event_of(chunk) for chunk in chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder, renamer, out = SSEDecoder(), Renamer(name, hide_usage=False), b""

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for event in decoder.feed(stream[start:end]):
            assert event.data is not None
            out += renamer.event(event.raw, Seen(payload=orjson.loads(event.data)))

    assert [json.loads(each.data or b"") for each in SSEDecoder().feed(out)] == [
        {**chunk, "model": name} for chunk in chunks
    ]
