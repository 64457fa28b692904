"""What a request may hold, and how its faults are told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.contract.chat import CHAT, COMPLETION, EMBEDDING, invalid
from gateway.contract.errors import InvalidRequest

USER = {"role": "user", "content": "Hello"}
REQUESTS: dict[str, TypeAdapter[Any]] = {
    "chat": CHAT,
    "completion": COMPLETION,
    "embedding": EMBEDDING,
}
SCHEMAS = {kind: request.json_schema() for kind, request in REQUESTS.items()}
LEAST: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [USER]},
    "completion": {"model": "m", "prompt": "Hello"},
    "embedding": {"model": "m", "input": "Hello"},
}


def fault(kind: str, body: Any) -> InvalidRequest:
    with pytest.raises(ValidationError) as raised:
        REQUESTS[kind].validate_python(body)
    return invalid(raised.value)


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [USER], **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2},
        {"temperature": 0.7, "n": 128, "seed": -1, "max_tokens": 1, "max_completion_tokens": 1},
        {"stop": "x"},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stream": True, "stream_options": {"include_usage": True, "new": 1}},
        {"stream": False, "stream_options": None},
        {"logprobs": True, "top_logprobs": 20, "logit_bias": {"50256": -100}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {"top_k": 5, "guided_json": {"type": "object"}, "anything": [None]},
    ],
)
def test_every_known_field_takes_its_range_and_unknown_ones_pass(fields: dict[str, Any]) -> None:
    CHAT.validate_python(chat(**fields))


@pytest.mark.parametrize("kind", REQUESTS)
def test_null_stands_for_every_optional_field(kind: str) -> None:
    schema = SCHEMAS[kind]
    optional = {name: None for name in schema["properties"] if name not in schema["required"]}
    assert len(optional) >= 3

    REQUESTS[kind].validate_python(LEAST[kind] | optional)


@pytest.mark.parametrize("prompt", ["", "a", ["a"], [1, 2], [[1], [2]]])
def test_a_prompt_is_text_or_tokens_or_lists_of_them(prompt: Any) -> None:
    COMPLETION.validate_python({"model": "m", "prompt": prompt, "max_tokens": 0})


@pytest.mark.parametrize("given_input", ["a", ["a"], [1, 2], [[1], [2]]])
@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_an_embedding_takes_text_or_tokens_or_lists_of_them(
    given_input: Any, encoding: str | None
) -> None:
    EMBEDDING.validate_python({"model": "m", "input": given_input, "encoding_format": encoding})


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ([], None, "invalid_type"),
        ("a", None, "invalid_type"),
        ({}, "model", "missing_required_parameter"),
        (chat() | {5: 5}, "[5]", "invalid_value"),
        ({"model": "m"}, "messages", "missing_required_parameter"),
        (chat() | {"model": None}, "model", "invalid_type"),
        (chat() | {"model": ""}, "model", "invalid_value"),
        (chat() | {"messages": []}, "messages", "invalid_value"),
        (chat() | {"messages": "a"}, "messages", "invalid_type"),
        (chat("a"), "messages[0]", "invalid_type"),
        (chat({}), "messages[0].role", "missing_required_parameter"),
        (chat({"role": "wizard"}), "messages[0].role", "invalid_value"),
        (chat({"role": 5}), "messages[0].role", "invalid_value"),
        (chat(USER, {"role": "user"}), "messages[1].content", "missing_required_parameter"),
        (chat({"role": "user", "content": None}), "messages[0].content", "invalid_type"),
        (chat({"role": "user", "content": 5}), "messages[0].content", "invalid_type"),
        (chat({"role": "user", "content": [5]}), "messages[0].content[0]", "invalid_type"),
        (
            chat({"role": "user", "content": [{"type": "text"}]}),
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            chat({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
            "messages[0].content[0].image_url.url",
            "missing_required_parameter",
        ),
        (
            chat({"role": "tool", "content": "a"}),
            "messages[0].tool_call_id",
            "missing_required_parameter",
        ),
        (chat(temperature=2.1), "temperature", "decimal_above_max_value"),
        (chat(temperature=-1), "temperature", "integer_below_min_value"),
        (chat(temperature="1"), "temperature", "invalid_type"),
        (chat(temperature=True), "temperature", "invalid_type"),
        (chat(top_p=1.01), "top_p", "decimal_above_max_value"),
        (chat(n=0), "n", "integer_below_min_value"),
        (chat(n=129), "n", "integer_above_max_value"),
        (chat(n=1.5), "n", "invalid_type"),
        (chat(max_tokens=0), "max_tokens", "integer_below_min_value"),
        (chat(max_completion_tokens=0), "max_completion_tokens", "integer_below_min_value"),
        (chat(presence_penalty=-2.5), "presence_penalty", "decimal_below_min_value"),
        (chat(frequency_penalty=3), "frequency_penalty", "integer_above_max_value"),
        (chat(top_logprobs=21), "top_logprobs", "integer_above_max_value"),
        (chat(stop=5), "stop", "invalid_type"),
        (chat(stop=["a", 5]), "stop[1]", "invalid_type"),
        (chat(stream="yes"), "stream", "invalid_type"),
        (chat(stream_options={}), "stream_options", "invalid_value"),
        (chat(logit_bias={"5": "a"}), "logit_bias.5", "invalid_type"),
        (chat(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
        (
            chat(response_format={"type": "json_schema"}),
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        (chat(tools={}), "tools", "invalid_type"),
        (chat(tools=[{"type": "function"}]), "tools[0].function", "missing_required_parameter"),
        (chat(tool_choice="maybe"), "tool_choice", "invalid_value"),
        (chat(tool_choice={}), "tool_choice.type", "missing_required_parameter"),
        (chat(function_call={}), "function_call.name", "missing_required_parameter"),
    ],
)
def test_a_fault_of_a_chat_names_its_field(body: Any, param: str | None, code: str) -> None:
    error = fault("chat", body)

    assert (error.param, error.code) == (param, code)
    assert (param or "JSON object") in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input[0]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": 5}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"encoding_format": ""}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_a_fault_of_an_embedding_names_its_field(fields: dict[str, Any], param: str) -> None:
    assert fault("embedding", LEAST["embedding"] | fields).param == param


def test_an_expected_kind_is_told_and_a_value_never_is() -> None:
    error = fault("chat", chat({"role": "user", "content": None}, user="sk-secret"))
    told = fault("chat", chat(temperature="sk-secret"))

    assert error.message == (
        "Invalid type for 'messages[0].content': "
        "expected a string or an array, but got null instead."
    )
    assert told.message == (
        "Invalid type for 'temperature': expected a number, but got a string instead."
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", REQUESTS)
@given(data=st.data())
def test_wrong_types_anywhere_are_told_without_their_value(kind: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SCHEMAS[kind]["properties"])))
    value = data.draw(json_values | st.just("s3cret"))

    try:
        REQUESTS[kind].validate_python(LEAST[kind] | {name: value})
    except ValidationError as error:
        told = invalid(error)
        assert told.param
        assert told.param.startswith(name) or name == "stream_options"
        assert told.code
        assert "s3cret" not in told.message


def test_a_million_bad_items_cost_one_message() -> None:
    with pytest.raises(ValidationError) as raised:
        CHAT.validate_python(chat(*([5] * 1_000_000)))
    assert raised.value.error_count() == 1


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_examples_are_valid(kind: str) -> None:
    json.dumps(SCHEMAS[kind])
    for example in SCHEMAS[kind]["examples"]:
        REQUESTS[kind].validate_python(example)
