import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.answer import Choice, Model
from gateway.simulator.dialect import ChatBody
from gateway.simulator.errors import Refused
from gateway.simulator.text import split

MODEL = Model(seed=0, answer_tokens=12, max_model_len=100)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def answer(content: str = "Hello", *, room: int = 90, **fields: Any) -> Choice:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": content}], **fields})
    return MODEL.chat(body, body.prompt(), room=room, index=0)


def test_an_answer_has_its_natural_length() -> None:
    choice = answer()

    assert (choice.tokens, choice.finish) == (12, "stop")


def test_an_answer_without_room_ends_by_length() -> None:
    choice = answer(room=5)

    assert (choice.tokens, len(choice.pieces), choice.finish) == (5, 5, "length")


def test_ignore_eos_fills_the_room() -> None:
    filled = answer(room=40, ignore_eos=True)

    assert (filled.tokens, filled.finish) == (40, "length")


def test_another_seed_gives_another_answer() -> None:
    other = Model(seed=1, answer_tokens=12, max_model_len=100)
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "Hello"}]})

    assert other.chat(body, body.prompt(), room=90, index=0).text != answer().text


@given(start=st.integers(0, 40), length=st.integers(1, 12))
def test_a_stop_string_ends_the_text_before_it_and_counts_what_was_made(
    start: int, length: int
) -> None:
    full = answer().text
    stop = full[start : start + length] or full[-1]

    choice = answer(stop=["never said", stop])

    assert choice.text == full[: full.index(stop)]
    assert (choice.finish, choice.stop) == ("stop", stop)
    made = full[: full.index(stop) + len(stop)]
    assert len(split(made)) <= choice.tokens + 1
    assert len(choice.pieces) <= choice.tokens <= 12


@pytest.mark.parametrize(
    ("content", "choice", "called", "finish"),
    [
        ("Hello", "required", "weather", "tool_calls"),
        ("Hello", {"type": "function", "function": {"name": "weather"}}, "weather", "stop"),
        ("Use a tool", "auto", "weather", "tool_calls"),
        ("Use a tool", None, "weather", "tool_calls"),
        ("Use a tool", "none", None, "stop"),
        ("Hello", "auto", None, "stop"),
    ],
)
def test_a_tool_is_called_when_it_is_asked_for(
    content: str, choice: Any, called: str | None, finish: str
) -> None:
    given = answer(content, tools=[TOOL], tool_choice=choice)

    assert (given.call, given.finish) == (called, finish)
    if called:
        assert set(json.loads(given.text)) == {"city"}


def test_a_tools_result_is_answered_with_text() -> None:
    turns = [
        {"role": "user", "content": "Use a tool"},
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "tool says 7"},
    ]

    assert answer(messages=turns, tools=[TOOL]).call is None


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}}}


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    ],
)
def test_json_output_fits_its_schema(fields: dict[str, Any]) -> None:
    value = json.loads(answer(**fields).text)

    assert isinstance(value["n"], int)
    assert isinstance(value["ok"], bool)


def test_json_without_a_schema_is_an_object() -> None:
    assert isinstance(json.loads(answer(response_format={"type": "json_object"}).text), dict)


def test_a_choice_is_one_of_those_offered() -> None:
    assert answer(structured_outputs={"choice": ["red", "green"]}).text in ("red", "green")


@pytest.mark.parametrize("schema", ["{", "[]"])
def test_a_schema_that_is_none_is_refused(schema: str) -> None:
    with pytest.raises(Refused):
        answer(structured_outputs={"json": schema})


@pytest.mark.parametrize(("asked", "room"), [(None, 40), (39, 39), (40, 40), (41, 40), (100, 40)])
def test_room_is_what_was_asked_as_far_as_it_is_left(asked: int | None, room: int) -> None:
    assert MODEL.room(60, asked) == room


@pytest.mark.parametrize(("prompt", "asked"), [(100, None), (100, 1), (101, 1)])
def test_a_prompt_that_fills_the_context_is_refused(prompt: int, asked: int | None) -> None:
    with pytest.raises(Refused, match="maximum context length is 100 tokens") as caught:
        MODEL.room(prompt, asked)

    assert (caught.value.status, caught.value.param) == (400, "input_tokens")


def test_more_output_than_any_context_holds_is_refused() -> None:
    with pytest.raises(Refused, match="max_tokens=101") as caught:
        MODEL.room(1, 101)

    assert (caught.value.status, caught.value.param) == (400, "max_tokens")


def test_an_aborted_choice_has_only_its_first_tokens() -> None:
    choice = answer().aborted(3)

    assert (choice.tokens, len(choice.pieces), choice.finish) == (3, 3, "abort")
