from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.contract.provider import Operation
from gateway.limits.estimate import (
    BYTES_PER_TOKEN,
    MESSAGE,
    PART,
    choices,
    named_cap,
    prompt_tokens,
)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = (
    "messages",
    "tools",
    "functions",
    "response_format",
    "prompt",
    "suffix",
    "input",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
)
OPERATIONS = st.sampled_from(["chat", "completion", "embedding"])


def chat(*contents: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


def prompt(body: dict[str, Any]) -> int:
    return prompt_tokens("chat", body)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_has_an_estimate(operation: Operation, body: dict[str, Any]) -> None:
    assert prompt_tokens(operation, body) >= 1
    assert named_cap(operation, body) >= 0
    assert choices(operation, body) >= (operation != "embedding")


@given(st.text(), st.text())
def test_text_counts_by_its_bytes(short: str, more: str) -> None:
    assume(not (short + more).startswith("data:"))
    grown = prompt(chat(short + more)) - prompt(chat(short))
    size = len(more.encode("utf-8", "surrogatepass"))

    assert abs(grown - size / BYTES_PER_TOKEN) < 1


def test_half_of_a_character_counts_too() -> None:
    assert prompt(chat("\ud800" * 30)) == prompt(chat("")) + 30


def test_a_message_costs_its_template() -> None:
    one, two = prompt(chat("")), prompt(chat("", ""))

    assert two - one >= MESSAGE


def test_deeply_nested_json_needs_no_stack() -> None:
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]

    assert prompt({"messages": nested}) >= 1


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000_000}},
        {"type": "image_url", "image_url": {"url": "https://example.com/" + "a" * 9_000}},
        {"type": "image_url", "image_url": "https://example.com/" + "a" * 9_000},
        {"type": "input_audio", "input_audio": {"data": "A" * 9_000_000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 9_000_000}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "something_new", "payload": "data:video/mp4;base64," + "A" * 9_000_000},
    ],
)
def test_media_cost_a_constant_whatever_their_length(part: dict[str, Any]) -> None:
    text = prompt(chat([{"type": "text", "text": "hi"}]))

    assert PART <= prompt(chat([{"type": "text", "text": "hi"}, part])) - text < PART + 20


def test_text_parts_and_schemas_are_read_as_text() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "C" * 300}},
    }
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]

    assert prompt(chat([{"type": "text", "text": "a" * 3000}])) > 1000
    assert 100 < prompt(chat("") | {"tools": tools}) - prompt(chat("")) < 150


@pytest.mark.parametrize(
    ("ids", "tokens"), [([1, 2, 3], 3), ([[1, 2], [3]], 3), (list(range(5000)), 5000)]
)
def test_token_ids_are_counted(ids: list[Any], tokens: int) -> None:
    assert prompt_tokens("embedding", {"input": ids}) == tokens
    assert prompt_tokens("completion", {"prompt": ids}) == tokens


def test_a_number_is_a_token_and_nothing_is_none() -> None:
    text = prompt_tokens("embedding", {"input": ["a" * 400]})

    assert prompt_tokens("embedding", {"input": ["a" * 400, 5]}) == text + 1
    assert prompt_tokens("embedding", {"input": ["a" * 400, None]}) == text


@pytest.mark.parametrize(
    ("operation", "body", "tokens"),
    [
        ("chat", {}, 100),
        ("chat", {"max_tokens": 7}, 7),
        ("chat", {"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ("chat", {"max_tokens": None, "n": 3}, 300),
        ("chat", {"n": "3", "max_tokens": -1}, 100),
        ("completion", {"max_tokens": 7, "prompt": "a"}, 7),
        ("completion", {"max_tokens": 7, "prompt": ["a", "b"], "n": 2}, 28),
        ("completion", {"max_tokens": 7, "prompt": [[1], [2, 3], [4]]}, 21),
        ("completion", {"max_tokens": 7, "prompt": [1, 2, 3], "n": 2, "best_of": 5}, 35),
        ("embedding", {"max_tokens": 7}, 0),
    ],
)
def test_an_answer_is_capped_for_each_choice_of_each_prompt(
    operation: Operation, body: dict[str, Any], tokens: int
) -> None:
    assert choices(operation, body) * (named_cap(operation, body) or 100) == tokens
