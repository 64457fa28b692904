"""What money is reserved by is never less than any tokeniser over bytes can make of a request."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.errors import InvalidRequest
from gateway.contract.provider import Operation
from gateway.limits.bound import MESSAGE, NODE, TEMPLATE, input_bound
from gateway.limits.estimate import PART, prompt_tokens

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = ("messages", "tools", "response_format", "prompt", "input", "documents", "anything")
OPERATIONS = st.sampled_from(["chat", "completion", "embedding"])
TEXT = {"type": "text", "text": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000_000}}
SOUND = {"type": "input_audio", "input_audio": {"data": "A" * 9_000_000, "format": "wav"}}


def chat(*contents: object, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents], **fields}


def bound(body: dict[str, Any], **tokens: int) -> int:
    return input_bound("chat", body, **tokens)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_is_bounded_or_refused(operation: Operation, body: dict[str, Any]) -> None:
    with suppress(InvalidRequest):
        assert input_bound(operation, body) >= 1


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1), JSON)
def test_a_bound_holds_every_byte_that_a_template_can_write(texts: list[str], schema: Any) -> None:
    body = chat(*texts, tools=[{"type": "function", "function": {"parameters": schema}}])
    text = "".join(texts) + json.dumps(body["tools"], ensure_ascii=False, indent=1)

    assert bound(body) >= len(text.replace(" ", "").encode("utf-8", "surrogatepass"))


@given(st.lists(st.text()), JSON)
def test_a_bound_is_never_below_the_estimate(texts: list[str], tools: Any) -> None:
    body = chat(*texts, tools=tools)

    assert (
        bound(body)
        >= prompt_tokens("chat", body)
        - sum(text.startswith("data:") for text in _texts(body)) * PART
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]


def test_text_counts_by_its_bytes() -> None:
    empty = bound(chat(""))

    assert empty == TEMPLATE + MESSAGE + 2 * NODE + len("user")
    assert bound(chat("a" * 1000)) == empty + 1000
    assert bound(chat("é" * 1000)) == empty + 2000
    assert bound(chat([{"type": "text", "text": "a" * 1000}])) >= empty + 1000


@pytest.mark.parametrize(
    "field",
    [
        "tools",
        "functions",
        "response_format",
        "tool_choice",
        "documents",
        "chat_template",
        "guided_json",
    ],
)
def test_whatever_may_become_part_of_the_prompt_counts(field: str) -> None:
    assert bound(chat("", **{field: {"a": ["b" * 1000]}})) > bound(chat("")) + 1000


@pytest.mark.parametrize("name", ["name", "refusal", "tool_calls", "reasoning_content"])
def test_all_of_a_message_counts(name: str) -> None:
    message = {"role": "assistant", "content": None, name: [{"arguments": "b" * 1000}]}

    assert bound({"messages": [message]}) > 1000 + TEMPLATE


def test_what_only_steers_the_answer_does_not_count() -> None:
    steering = {
        "logit_bias": {str(n): 1 for n in range(1000)},
        "metadata": {"k": "v" * 500},
        "stop": ["x" * 500],
        "user": "u" * 500,
    }
    assert bound(chat("hi", **steering)) == bound(chat("hi"))


@pytest.mark.parametrize(
    ("ids", "tokens"), [([1, 2, 3], 3 + NODE), ([[1, 2], [3]], 3 + 3 * NODE), ([1] * 5000, 5008)]
)
def test_token_ids_count_one_each(ids: list[Any], tokens: int) -> None:
    assert input_bound("embedding", {"model": "m", "input": ids}) == tokens
    assert input_bound("completion", {"model": "m", "prompt": ids}) == tokens


@pytest.mark.parametrize("mixed", [[1, "a" * 99], [[1], ["a" * 99]], [[1], None, "a" * 99]])
def test_text_among_token_ids_counts_as_text(mixed: list[Any]) -> None:
    assert input_bound("completion", {"prompt": mixed}) > 99


def test_a_message_that_is_none_counts_as_the_text_that_it_is() -> None:
    assert bound({"messages": ["a" * 1000]}) >= 1000


def test_numbers_that_are_no_token_ids_count_by_their_digits() -> None:
    enum = [10**17] * 100

    assert bound(chat("", tools=[{"enum": enum}])) > bound(chat("")) + 1800


def test_media_count_what_the_model_says() -> None:
    text = bound(chat([TEXT]))

    assert bound(chat([TEXT, IMAGE, IMAGE]), image_tokens=700) == text + 1400
    assert bound(chat([TEXT, SOUND]), audio_tokens=900) == text + 900
    assert bound(
        chat([TEXT, {"type": "audio_url", "audio_url": {"url": "x"}}]), audio_tokens=1
    ) == (text + 1)
    assert bound(chat([TEXT, {"image_url": "x", "uuid": "u"}]), image_tokens=7) == text + 7


@pytest.mark.parametrize(
    "part",
    [
        IMAGE,
        SOUND,
        {"type": "image_url", "image_url": "https://example.com"},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "something_new", "payload": "x"},
        {"type": 5, "text": "x"},
        {"image_url": "x"},
        {},
    ],
)
def test_media_of_no_known_size_are_refused_by_place(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        bound(chat("hi", [TEXT, part]))

    assert refusal.value.code == "unbounded_input"
    assert refusal.value.param == "messages[1].content[1]"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "audio_embeds", "audio_embeds": "AAAA"},
        {"image_url": "x", "video_url": "y"},
    ],
)
def test_films_files_and_embeddings_stay_endless(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        bound(chat([part]), image_tokens=7, audio_tokens=7)


@pytest.mark.parametrize("audio", [{"id": "audio_1"}, "audio_1"])
def test_sound_that_an_earlier_answer_refers_to_counts(audio: object) -> None:
    body = {"messages": [{"role": "assistant", "audio": audio}]}

    assert bound(body, audio_tokens=900) > 900
    with pytest.raises(InvalidRequest) as refusal:
        bound(body)
    assert refusal.value.param == "messages[0].audio"
    assert bound({"messages": [{"role": "assistant", "audio": None}]})


def test_deeply_nested_json_needs_no_stack() -> None:
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]

    assert bound({"tools": nested}) >= 1
