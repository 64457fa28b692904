from typing import Any

import pytest
from pydantic import ValidationError

from gateway.simulator.dialect import ChatBody, TokenizeBody

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def chat(**fields: Any) -> ChatBody:
    return ChatBody.model_validate({"messages": HELLO, **fields})


def test_unknown_fields_are_ignored() -> None:
    assert chat(chat_template_kwargs={"thinking": True}, priority=3).prompt() == chat().prompt()


def test_a_prompt_holds_every_turn_and_every_tool() -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "u:1"}}]
    turns = [
        {"role": "system", "content": "Short."},
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": [{"id": "c1"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]

    prompt = chat(messages=turns, tools=[TOOL]).prompt()

    for piece in ("Short.", "Look", "u:1", "c1", "done", "look"):
        assert piece in prompt


def test_tokenize_reads_the_prompt_that_chat_reads() -> None:
    asked = {"messages": HELLO, "tools": [TOOL]}

    assert TokenizeBody.model_validate(asked).text() == chat(tools=[TOOL]).prompt()


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"n": 0},
        {"max_tokens": 0},
        {"temperature": -1},
        {"top_p": 0},
        {"stream_options": {"include_usage": True}},
        {"tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
    ],
)
def test_a_parameter_that_vllm_refuses_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        chat(**wrong)


BEGUN = [*HELLO, {"role": "assistant", "content": "A lock"}]
OPEN = {"continue_final_message": True, "add_generation_prompt": False}


def test_an_answer_that_has_begun_is_left_open() -> None:
    assert chat(messages=BEGUN, **OPEN).prompt() == chat().prompt() + "A lock"
    assert chat(messages=BEGUN).prompt().endswith("A lock\n<|assistant|>\n")
    assert chat(messages=BEGUN, add_generation_prompt=False).prompt().endswith("A lock\n")


def test_white_space_at_the_end_of_what_has_begun_is_trimmed() -> None:
    spaced = [*HELLO, {"role": "assistant", "content": "A lock \n\n"}]

    assert chat(messages=spaced, **OPEN).prompt() == chat().prompt() + "A lock"


def test_tokenize_leaves_it_open_too() -> None:
    asked = {"messages": BEGUN, **OPEN}

    assert TokenizeBody.model_validate(asked).text() == chat(**asked).prompt()


@pytest.mark.parametrize(
    "wrong",
    [
        {"continue_final_message": True, "add_generation_prompt": True},
        {"continue_final_message": True},
        {"messages": [{"role": "assistant", "content": None}], **OPEN},
    ],
)
def test_what_can_not_be_continued_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        chat(**{"messages": BEGUN, **wrong})
