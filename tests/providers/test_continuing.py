"""What goes on elsewhere, how it is asked for, and what does not: exact or not at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.continuation import Continuation, Said
from gateway.contract.provider import Body, Target
from providers.continuing import DEFAULT_OF_COMPLETIONS, continuation

HELLO = {"role": "user", "content": "Hello"}
CHAT: Body = {"model": "chat", "messages": [HELLO], "stream": True}
TEXT: Body = {"model": "chat", "prompt": "A lock", "stream": True}
TARGET = Target("vllm-b", "demo-model", max_output=64)
SAID = Said("Good day", tokens=5, solid_tokens=5)
OPEN = {"continue_final_message": True, "add_generation_prompt": False}

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def chat(said: Said = SAID, target: Target = TARGET, **fields: Any) -> Continuation | None:
    return continuation("chat", {**CHAT, **fields}, target, said)


def text(said: Said = SAID, target: Target = TARGET, **fields: Any) -> Continuation | None:
    return continuation("completion", {**TEXT, **fields}, target, said)


def begun(content: Any) -> dict[str, Any]:
    """A conversation whose last message the client wants continued."""
    return {"messages": [HELLO, {"role": "assistant", "content": content}], **OPEN}


def test_the_text_so_far_is_a_last_message_that_stays_open() -> None:
    found = chat(temperature=0.5, user="me")

    assert found is not None
    assert (found.tokens, found.repeats) == (5, "")
    assert found.body == {
        **CHAT,
        "messages": [HELLO, {"role": "assistant", "content": "Good day"}],
        **OPEN,
        "max_tokens": 59,
        "temperature": 0.5,
        "user": "me",
    }


def test_the_text_so_far_of_a_completion_ends_its_prompt() -> None:
    for prompt in ("A lock", ["A lock"]):
        found = text(prompt=prompt, max_tokens=9)

        assert found is not None
        assert found.body == {**TEXT, "prompt": "A lockGood day", "max_tokens": 4}


@given(texts, st.integers(0, 9), st.integers(0, 9))
def test_white_space_at_the_end_of_a_chat_is_left_to_be_said_again(
    said: str, solid: int, more: int
) -> None:
    found = chat(Said(said, tokens=solid + more, solid_tokens=solid))

    assert found is not None
    kept = said.removesuffix(found.repeats)
    assert kept + found.repeats == said
    assert not found.repeats.strip()
    assert kept == kept.rstrip()
    if kept:
        assert found.body["messages"][-1] == {"role": "assistant", "content": kept}
    else:
        assert found.body == {**CHAT, "max_tokens": 64}
    assert found.tokens == (0 if not kept else solid if found.repeats else solid + more)
    assert found.body["max_tokens"] == 64 - found.tokens


@given(texts, st.integers(0, 9))
def test_a_completion_keeps_its_white_space(said: str, tokens: int) -> None:
    found = text(Said(said, tokens=tokens, solid_tokens=0))

    assert found is not None
    assert found.body["prompt"] == "A lock" + said
    assert (found.repeats, found.tokens) == ("", tokens)


@given(texts.filter(str.strip))
def test_a_message_that_the_client_began_is_prolonged(said: str) -> None:
    found = chat(Said(said, tokens=1, solid_tokens=1), **begun("Well, "))

    assert found is not None
    assert [each["content"] for each in found.body["messages"]] == [
        "Hello",
        "Well, " + said.rstrip(),
    ]
    assert found.body.items() >= OPEN.items()


def test_of_a_message_that_the_client_began_only_white_space_is_asked_for_anew() -> None:
    found = chat(Said("\n", tokens=1, solid_tokens=0), **begun("Well, "))

    assert found is not None
    assert found.body == {**CHAT, **begun("Well, "), "max_tokens": 64}
    assert (found.repeats, found.tokens) == ("\n", 0)


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({}, 59),
        ({"max_tokens": 30}, 25),
        ({"max_completion_tokens": 6}, 1),
        ({"max_tokens": 30, "max_completion_tokens": 20}, 15),
        ({"max_tokens": 5}, None),
        ({"max_tokens": 4}, None),
    ],
)
def test_the_cap_is_what_is_left_of_it(named: dict[str, Any], left: int | None) -> None:
    found = chat(**named)

    assert (found and found.body["max_tokens"]) == left
    assert found is None or found.body.get("max_completion_tokens") is None


def test_what_has_no_cap_gets_none() -> None:
    unbounded = Target("vllm-b", "demo-model")

    found = chat(target=unbounded)
    assert found is not None
    assert "max_tokens" not in found.body

    found = text(target=unbounded)
    assert found is not None
    assert found.body["max_tokens"] == DEFAULT_OF_COMPLETIONS - 5


@pytest.mark.parametrize("least", ["9", True, 9.5, [9], {"a": 1}])
def test_a_least_that_makes_no_sense_is_gone_on_with_nowhere(least: Any) -> None:
    assert chat(min_tokens=least) is None


@pytest.mark.parametrize(("least", "left"), [(9, 4), (5, 0), (1, 0)])
def test_the_least_is_what_is_left_of_it(least: int, left: int) -> None:
    found = chat(min_tokens=least)

    assert found is not None
    assert found.body["min_tokens"] == left


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"functions": [{"name": "f"}]},
        {"tool_choice": "auto"},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"structured_outputs": {"choice": ["a"]}},
        {"guided_json": {"type": "object"}},
        {"guided_regex": "a*"},
        {"n": 2},
        {"best_of": 2},
        {"use_beam_search": True},
        {"logprobs": True},
        {"top_logprobs": 2},
        {"prompt_logprobs": 0},
        {"return_token_ids": True},
        {"return_prompt_text": True},
        {"echo": True},
        {"kv_transfer_params": {"a": 1}},
        {"stop": "end"},
        {"stop": ["end"]},
        {"bad_words": ["no"]},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.5},
        {"repetition_detection": {"a": 1}},
        {"truncate_prompt_tokens": 10},
        {"thinking_token_budget": 10},
        {"include_reasoning": False},
        {"seed": 7},
        {"seed": 7, "temperature": 0.5},
        {"add_generation_prompt": False},
        begun([{"type": "text", "text": "Well"}]),
        begun(None),
        {**OPEN},
        {"x_unheard_of": 1},
        {"x_unheard_of": 0},
    ],
    ids=str,
)
def test_what_would_not_be_exact_is_refused(fields: dict[str, Any]) -> None:
    assert chat(**fields) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": None, "functions": None, "tool_choice": "none", "parallel_tool_calls": True},
        {"response_format": {"type": "text"}, "structured_outputs": None},
        {"n": 1, "logprobs": False, "top_logprobs": 0, "echo": False, "stop": []},
        {"presence_penalty": 0.0, "frequency_penalty": 0},
        {"repetition_penalty": 1.2, "logit_bias": {"5": 1}, "top_k": 3, "min_p": 0.1},
        {"seed": 7, "temperature": 0},
        {"seed": None, "include_reasoning": True, "return_token_ids": None},
        {"chat_template_kwargs": {"enable_thinking": False}, "metadata": {"a": "b"}},
        {"add_generation_prompt": True, "continue_final_message": False},
        {"x_unheard_of": None},
    ],
    ids=str,
)
def test_what_means_the_same_for_a_rest_is_passed_on(fields: dict[str, Any]) -> None:
    found = chat(**fields)

    assert found is not None
    kept = {name: value for name, value in fields.items() if name not in OPEN}
    assert found.body.items() >= kept.items()


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": [1, 2]},
        {"prompt": [[1, 2]]},
        {"prompt": ["a", "b"]},
        {"prompt": []},
        {"suffix": "the end"},
        {"echo": True},
        {"logprobs": 0},
    ],
    ids=str,
)
def test_completions_that_would_not_be_exact_are_refused(fields: dict[str, Any]) -> None:
    assert text(**fields) is None


def test_what_is_no_text_does_not_go_on() -> None:
    body = {"model": "m", "input": "Hello"}

    assert continuation("embedding", body, TARGET, SAID) is None
    assert chat(Said("", tokens=0, solid_tokens=0)) is None


@given(texts)
def test_the_request_is_left_as_it_was(said: str) -> None:
    messages = [HELLO, {"role": "assistant", "content": "Well"}]
    body = {"model": "chat", "messages": messages, **OPEN}
    before = repr(body)

    continuation("chat", body, TARGET, Said(said, tokens=1, solid_tokens=1))

    assert repr(body) == before
