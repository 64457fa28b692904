import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.answer import Model
from gateway.simulator.chat import ChatReply, chat_reply
from gateway.simulator.dialect import ChatBody
from tests.support.simulator import events, said

MODEL = Model(seed=0, answer_tokens=10, max_model_len=1000)
TOOL = {"function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}
USAGE = {"include_usage": True}


def reply(**fields: Any) -> ChatReply:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "Hi"}], **fields})
    return chat_reply(body, model=MODEL, name='a "model"', reply_id="f00d", created=1700000000)


def stream(**fields: Any) -> str:
    sent = reply(stream=True, **fields).events()
    return b"".join([raw for raw, _ in sent]).decode()


def test_a_whole_answer_has_the_fields_of_a_chat_completion() -> None:
    whole = json.loads(reply(n=2).whole())

    assert (whole["id"], whole["object"]) == ("chatcmpl-f00d", "chat.completion")
    assert (whole["created"], whole["model"]) == (1700000000, 'a "model"')
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert whole["usage"]["completion_tokens"] == 20


@given(n=st.integers(1, 4), limit=st.integers(1, 15), stop=st.sampled_from([None, "a", " b", "e"]))
def test_a_stream_says_what_the_whole_answer_says(n: int, limit: int, stop: str | None) -> None:
    asked = {"n": n, "max_tokens": limit, "stop": stop}
    whole = json.loads(reply(**asked).whole())

    streamed = stream(**asked, stream_options=USAGE)

    for choice in whole["choices"]:
        assert said(streamed, index=choice["index"]) == choice["message"]["content"]
    assert events(streamed)[-2]["usage"] == whole["usage"]


@given(n=st.integers(1, 3), limit=st.integers(1, 15), stop=st.sampled_from([None, "a", "e"]))
def test_the_tokens_of_the_events_are_the_usage(n: int, limit: int, stop: str | None) -> None:
    sent = reply(stream=True, n=n, max_tokens=limit, stop=stop)

    assert sum(tokens for _, tokens in sent.events()) == sent.completion_tokens


def test_a_stream_opens_with_the_role_and_ends_with_done() -> None:
    told = events(stream())

    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert told[-2]["choices"][0]["finish_reason"] == "stop"
    assert told[-2]["choices"][0]["delta"] == {}
    assert told[-1] == "[DONE]"


@pytest.mark.parametrize("cut", [{"max_tokens": 3}, {"stop": " "}])
def test_a_text_that_is_cut_ends_with_its_last_piece(cut: dict[str, Any]) -> None:
    last = events(stream(**cut))[-2]["choices"][0]

    assert last["finish_reason"] is not None
    assert last["delta"]["content"]


def test_a_stream_tells_no_usage_unless_asked() -> None:
    assert "usage" not in stream()


def test_usage_comes_last_and_without_a_choice() -> None:
    last = events(stream(stream_options=USAGE))[-2]

    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 10


def test_continuous_usage_grows_with_every_token() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}

    told = [
        event["usage"]["completion_tokens"] for event in events(stream(stream_options=options))[:-1]
    ]

    assert told == [0, *range(1, 11), 10, 10]


@pytest.mark.parametrize(("choice", "finish"), [("required", "tool_calls"), (TOOL, "stop")])
def test_a_call_is_streamed_in_fragments_that_join_to_the_whole(choice: Any, finish: str) -> None:
    asked = {"tools": [TOOL], "tool_choice": choice}
    whole = json.loads(reply(**asked).whole())["choices"][0]

    told = [event["choices"][0] for event in events(stream(**asked))[:-1]]
    calls = [part["delta"]["tool_calls"][0] for part in told if "tool_calls" in part["delta"]]

    assert all(call["index"] == 0 for call in calls)
    assert calls[0]["function"] == {"name": "f"}
    joined = "".join(call["function"]["arguments"] for call in calls[1:])
    assert joined == whole["message"]["tool_calls"][0]["function"]["arguments"]
    assert calls[0]["id"] == whole["message"]["tool_calls"][0]["id"]
    assert told[-1]["finish_reason"] == whole["finish_reason"] == finish


def test_an_aborted_reply_says_so_in_every_choice() -> None:
    aborted = reply(n=2).aborted(3)

    assert aborted.finishes == ("abort", "abort")
    assert aborted.completion_tokens == 6


def begun(text: str, spent: int, limit: int) -> dict[str, Any]:
    """What asks for the rest of an answer."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}]
    return {
        "messages": turns,
        "continue_final_message": True,
        "add_generation_prompt": False,
        "max_tokens": limit - spent,
    }


@given(limit=st.integers(2, 15), data=st.data())
def test_an_answer_and_its_continuation_are_the_whole_answer(
    limit: int, data: st.DataObject
) -> None:
    whole = reply(max_tokens=limit).choices[0]
    spent = data.draw(st.integers(1, min(9, limit - 1)))
    pieces = whole.pieces[:spent]
    while pieces[-1].isspace():
        pieces = pieces[:-1]

    rest = reply(**begun("".join(pieces), len(pieces), limit)).choices[0]

    assert [*pieces, *rest.pieces] == list(whole.pieces)
    assert rest.finish == whole.finish


def test_an_answer_that_was_all_there_goes_on_with_its_end() -> None:
    whole = reply().choices[0]

    rest = reply(**begun(whole.text, 10, 100)).choices[0]

    assert (rest.text, rest.finish, rest.tokens) == ("", "stop", 0)
