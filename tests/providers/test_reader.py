"""What a reader sees in an answer of the OpenAI dialect."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import (
    ProviderError,
    ProviderFailed,
    ProviderGarbled,
    ProviderRateLimited,
)
from gateway.contract.provider import Reader, Seen, Usage
from providers.reader import EmbeddingReader, StreamReader, WholeReader, packed, usage_of
from providers.refusal import Refusals

NAMED = Refusals([]).of_event
READERS: dict[str, Callable[[], Reader]] = {
    "stream": lambda: StreamReader(NAMED),
    "whole": lambda: WholeReader(NAMED),
    "embedding": lambda: EmbeddingReader(NAMED, as_base64=True),
}


def read(reader: Reader, *choices: Any, **fields: Any) -> Seen:
    return reader.read(json.dumps({"choices": list(choices), **fields}).encode())


def delta(said: Any, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": said, **fields}


@pytest.mark.parametrize(
    ("choice", "content"),
    [
        (delta({"role": "assistant"}), False),
        (delta({"role": "assistant", "content": ""}), False),
        (delta({"role": "assistant", "content": None}), False),
        (delta({"content": None, "tool_calls": []}), False),
        (delta(None), False),
        (delta({"content": " "}), True),
        (delta({"reasoning": "hm"}), True),
        (delta({"reasoning_content": "hm"}), True),
        (delta({"refusal": "no"}), True),
        (delta({"tool_calls": [{"index": 0}]}), True),
        (delta({"function_call": {"name": "f"}}), True),
        (delta({"audio": {"id": "a"}}), True),
        ({"index": 0, "text": "a"}, True),
        ({"index": 0, "text": ""}, False),
        (delta({}, finish_reason="stop"), True),
        (delta({}, finish_reason=None), False),
        (delta({}, finish_reason=""), False),
        ({"delta": {"content": "without an index"}}, True),
    ],
)
def test_content_is_any_field_of_a_delta_but_its_role_or_a_finish(
    choice: dict[str, Any], content: bool
) -> None:
    seen = read(StreamReader(NAMED), choice)

    assert seen.error is None
    assert seen.content == content


def test_a_stream_is_complete_when_every_choice_that_began_has_finished() -> None:
    reader = StreamReader(NAMED)

    assert not reader.complete
    read(reader, {"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}})
    read(reader, {"index": 1, "delta": {}, "finish_reason": "stop"})
    assert not reader.complete
    seen = read(reader, {"index": 0, "delta": {}, "finish_reason": "length"})
    assert reader.complete
    assert seen.finish_reasons == ("length",)


def test_pieces_count_the_choices_that_say_something() -> None:
    seen = read(
        StreamReader(NAMED),
        {"index": 0, "delta": {"content": "a"}},
        {"index": 1, "delta": {}},
        {"index": 2, "delta": {"content": "b"}},
    )
    assert seen.pieces == 2


@pytest.mark.parametrize("data", [b"[DONE]", b"[DONE] ", b"[DONE]\n"])
def test_the_end_marker_is_seen(data: bytes) -> None:
    assert StreamReader(NAMED).read(data) == Seen(done=True)


@pytest.mark.parametrize(
    "choice",
    [
        5,
        None,
        delta("a"),
        {"index": "0", "delta": {}},
        {"index": [], "delta": {}},
        {"index": True, "delta": {}},
        delta({}, finish_reason=5),
    ],
)
def test_a_choice_of_another_shape_is_garbled(choice: Any) -> None:
    assert isinstance(read(StreamReader(NAMED), choice).error, ProviderGarbled)


@pytest.mark.parametrize("data", [b"", b"{", b"5", b"[]", b"null", b'"a"', b"\xff", b"NaN"])
@pytest.mark.parametrize("kind", READERS)
def test_what_is_no_json_object_is_garbled(kind: str, data: bytes) -> None:
    error = READERS[kind]().read(data).error

    assert isinstance(error, ProviderGarbled)
    assert error.code == "upstream_invalid_event"


@pytest.mark.parametrize("kind", READERS)
def test_an_error_under_a_good_status_is_named(kind: str) -> None:
    reader = READERS[kind]()

    seen = reader.read(b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}')

    assert isinstance(seen.error, ProviderRateLimited)
    assert not reader.complete
    assert READERS[kind]().read(b'{"object": "error", "code": 400}').error is not None


@pytest.mark.parametrize("kind", ["stream", "whole"])
def test_an_abort_is_a_failure(kind: str) -> None:
    choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "abort"}
    reader = READERS[kind]()

    error = reader.read(json.dumps({"choices": [choice]}).encode()).error

    assert isinstance(error, ProviderFailed)
    assert error.code == "upstream_aborted"
    assert not reader.complete


@pytest.mark.parametrize(
    ("usage", "read_as"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, Usage(1, 2)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
        ({"prompt_tokens": 3, "total_tokens": 5}, Usage(3, 2)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 9},
                "completion_tokens_details": {"reasoning_tokens": -1},
            },
            Usage(5, 4, cached=5, reasoning=0),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "prompt_tokens_details": {
                    "cached_tokens": 1,
                    "cache_write_tokens": 2,
                    "audio_tokens": 3,
                },
                "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 5},
            },
            Usage(
                9,
                8,
                cached=1,
                reasoning=4,
                cache_written=2,
                audio_prompt=3,
                audio_completion=5,
            ),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cache_creation_tokens": 4, "audio_tokens": 10**20},
                "completion_tokens_details": {"audio_tokens": "4"},
            },
            Usage(5, 4, cache_written=4, audio_prompt=5),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 4,
                "prompt_tokens_details": {
                    "cache_creation_input_tokens": 2,
                    "cache_write_tokens": True,
                    "audio_tokens": 1.5,
                },
                "completion_tokens_details": [1],
            },
            Usage(5, 4, cache_written=2),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": 4, "prompt_tokens_details": None},
            Usage(5, 4),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
        ({"prompt_tokens": 1, "completion_tokens": 10**12}, None),
        ({"prompt_tokens": 5, "total_tokens": 3}, None),
        ({"prompt_tokens": "1", "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 2}, None),
        ({"completion_tokens": 2}, None),
        ({}, None),
        (None, None),
        ([], None),
        (5, None),
    ],
)
def test_usage_is_read_where_it_makes_sense(usage: Any, read_as: Usage | None) -> None:
    assert usage_of(usage) == read_as


@pytest.mark.parametrize(
    ("tier", "read_as"),
    [("priority", "priority"), ("default", ""), (None, ""), (5, ""), ([], ""), ("", "")],
)
def test_a_service_other_than_the_usual_is_told(tier: Any, read_as: str) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    told = Usage(1, 2, service_tier=read_as)

    assert read(StreamReader(NAMED), usage=usage, service_tier=tier).usage == told
    whole = json.dumps({"choices": [], "usage": usage, "service_tier": tier}).encode()
    assert WholeReader(NAMED).read(whole).usage == told


def test_usage_beside_a_choice_is_read() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    seen = read(StreamReader(NAMED), delta({"content": "a"}), usage=usage)

    assert (seen.usage, seen.content) == (Usage(1, 2), True)


@pytest.mark.parametrize(
    ("choice", "pieces", "content"),
    [
        ({"message": {"role": "assistant", "content": "abcdef"}}, 2, True),
        ({"message": {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}}, 3, True),
        ({"message": {"role": "assistant", "content": ""}}, 0, False),
        ({"text": "abcde"}, 2, True),
        ({}, 0, False),
    ],
)
def test_a_whole_answer_without_usage_is_measured_by_its_text(
    choice: dict[str, Any], pieces: int, content: bool
) -> None:
    seen = WholeReader(NAMED).read(json.dumps({"choices": [choice]}).encode())

    assert (seen.pieces, seen.content, seen.usage) == (pieces, content, None)


@pytest.mark.parametrize(
    ("choices", "complete"),
    [
        ([{"finish_reason": "stop"}, {"finish_reason": "length"}], True),
        ([{"finish_reason": "stop"}, {"finish_reason": None}], False),
        ([], False),
    ],
)
def test_a_whole_answer_is_complete_with_a_finish_for_every_choice(
    choices: list[Any], complete: bool
) -> None:
    reader = WholeReader(NAMED)
    seen = reader.read(json.dumps({"choices": choices}).encode())

    assert seen.error is None
    assert reader.complete == complete


@pytest.mark.parametrize("choice", [5, {"message": 5}, {"message": [1]}, {"text": 5}])
def test_a_whole_choice_of_another_shape_is_garbled(choice: Any) -> None:
    seen = WholeReader(NAMED).read(json.dumps({"choices": [choice]}).encode())
    assert isinstance(seen.error, ProviderGarbled)


def test_vectors_are_packed_only_where_they_came_as_numbers() -> None:
    answer = {"data": [{"embedding": [0.5, -1]}, {"embedding": "AAAAPw=="}]}

    reader = EmbeddingReader(NAMED, as_base64=True)
    seen = reader.read(json.dumps(answer).encode())

    assert seen.payload is not None
    assert [item["embedding"] for item in seen.payload["data"]] == [packed([0.5, -1]), "AAAAPw=="]
    assert seen.translated
    assert reader.complete
    untouched = EmbeddingReader(NAMED, as_base64=False).read(json.dumps(answer).encode())
    assert untouched.payload == answer
    assert not untouched.translated


@pytest.mark.parametrize(
    "data", [None, [], {}, [5], [{}], [{"embedding": []}], [{"embedding": ["a"]}]]
)
def test_an_answer_without_embeddings_is_garbled(data: Any) -> None:
    reader = EmbeddingReader(NAMED, as_base64=True)

    assert isinstance(reader.read(json.dumps({"data": data}).encode()).error, ProviderGarbled)
    assert not reader.complete


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_packing_keeps_every_number(vector: list[float]) -> None:
    unpacked = struct.unpack(f"<{len(vector)}f", base64.b64decode(packed(vector)))
    assert list(unpacked) == vector


@pytest.mark.parametrize(
    "choice",
    [
        delta({"content": "a"}),
        delta({"role": "assistant", "content": "a"}),
        delta({"reasoning_content": "a"}),
        {"text": "a", "finish_reason": None},
    ],
)
def test_an_event_with_one_text_and_nothing_else_is_plain(choice: Any) -> None:
    assert read(StreamReader(NAMED), choice).plain
    assert read(StreamReader(NAMED), choice, usage=None).plain

    assert not read(StreamReader(NAMED), choice, usage={}).plain
    assert not read(StreamReader(NAMED), {**choice, "finish_reason": "stop"}).plain
    assert not read(StreamReader(NAMED), choice, {"text": "", "index": 1}).plain
    assert not read(StreamReader(NAMED), delta({"content": ""})).plain
    assert not read(StreamReader(NAMED)).plain


def test_an_event_is_parsed_exactly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    loads = orjson.loads

    def counting(data: bytes) -> Any:
        parsed.append(data)
        return loads(data)

    monkeypatch.setattr(orjson, "loads", counting)
    read(StreamReader(NAMED), delta({"content": "a"}))
    assert len(parsed) == 1


words = st.sampled_from(
    ["choices", "delta", "index", "finish_reason", "usage", "error", "data", "embedding", "text",
     "message", "prompt_tokens", "completion_tokens", "abort", "stop", "audio_tokens",
     "prompt_tokens_details", "completion_tokens_details", "cached_tokens"]
)  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**53) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
)


@pytest.mark.parametrize("kind", READERS)
@given(value=anything)
def test_no_shape_of_json_raises(kind: str, value: Any) -> None:
    seen = READERS[kind]().read(json.dumps(value).encode())

    assert seen.error is None or isinstance(seen.error, ProviderError)
