import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.answer import Model
from gateway.simulator.completions import CompletionReply, completion_reply
from gateway.simulator.dialect import CompletionBody
from gateway.simulator.errors import Refused
from gateway.simulator.text import split, token_id
from tests.support.simulator import events

MODEL = Model(seed=0, answer_tokens=10, max_model_len=100)


def reply(**fields: Any) -> CompletionReply:
    body = CompletionBody.model_validate({"prompt": "Once", **fields})
    return completion_reply(body, model=MODEL, name="m", reply_id="f00d", created=1)


@given(
    prompts=st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=3),
    n=st.integers(1, 3),
    echo=st.booleans(),
)
def test_a_stream_says_what_the_whole_answer_says(prompts: list[str], n: int, echo: bool) -> None:
    asked = {"prompt": prompts, "n": n, "echo": echo}
    whole = json.loads(reply(**asked).whole())
    sent = reply(**asked, stream=True, stream_options={"include_usage": True})

    told = events(b"".join([raw for raw, _ in sent.events()]).decode())[:-1]

    assert len(whole["choices"]) == len(prompts) * n
    for choice in whole["choices"]:
        parts = [part for event in told for part in event["choices"]]
        mine = [part for part in parts if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in mine) == choice["text"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
    assert told[-1]["usage"] == whole["usage"]


def test_text_and_its_tokens_are_answered_alike() -> None:
    ids = [token_id(piece) for piece in split("Once upon a time")]

    assert reply(prompt=ids).choices == reply(prompt="Once upon a time").choices
    assert reply(prompt=[ids]).prompt_tokens == len(ids)


def test_sixteen_tokens_are_the_most_without_being_asked() -> None:
    assert reply(ignore_eos=True).completion_tokens == 16


def test_an_echo_stands_before_the_text_and_costs_no_tokens() -> None:
    whole = json.loads(reply(echo=True).whole())

    assert whole["choices"][0]["text"].startswith("Once")
    assert whole["usage"]["completion_tokens"] == 10


def test_an_aborted_reply_says_so() -> None:
    assert reply().aborted(2).finishes == ("abort",)


@pytest.mark.parametrize(
    "wrong",
    [{"prompt": []}, {"prompt": [2]}, {"prompt": ["a"] * 65, "n": 2}, {"max_tokens": 101}],
)
def test_what_cannot_be_answered_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        reply(**wrong)


@given(limit=st.integers(2, 10), spent=st.integers(1, 9))
def test_a_prompt_with_the_beginning_of_its_answer_is_answered_with_the_rest(
    limit: int, spent: int
) -> None:
    spent = min(spent, limit - 1)
    whole = reply(max_tokens=limit).choices[0]

    rest = reply(prompt="Once" + "".join(whole.pieces[:spent]), max_tokens=limit - spent)

    assert [*whole.pieces[:spent], *rest.choices[0].pieces] == list(whole.pieces)
