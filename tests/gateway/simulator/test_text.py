import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.text import detokenize, say, split, token_id

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split(text)) == text


@given(TEXT)
def test_token_ids_give_the_text_back_and_fit_into_a_double(text: str) -> None:
    ids = [token_id(piece) for piece in split(text)]

    assert detokenize(ids) == text
    assert all(0 < number < 2**53 for number in ids)


@given(seed=st.integers(0, 99), prompt=TEXT, tokens=st.integers(0, 300), index=st.integers(0, 9))
def test_an_answer_splits_into_the_tokens_it_was_made_of(
    seed: int, prompt: str, tokens: int, index: int
) -> None:
    pieces = say(seed, prompt, index=index, tokens=tokens)

    assert len(pieces) == tokens
    assert split("".join(pieces)) == pieces


def test_a_longer_answer_only_goes_on() -> None:
    assert say(0, "hello", tokens=200)[:50] == say(0, "hello", tokens=50)


@pytest.mark.parametrize("number", [0, -1, 2, 2**53, token_id("a") + (2 << 8), 0x01FF])
def test_what_is_no_token_id_is_refused(number: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the promise
        detokenize([number])


@given(seed=st.integers(0, 9), prompt=TEXT, said=st.integers(1, 60), more=st.integers(0, 60))
def test_an_answer_goes_on_from_its_own_beginning(
    seed: int, prompt: str, said: int, more: int
) -> None:
    whole = say(seed, prompt, tokens=said + more)

    begun = prompt + "".join(whole[:said])
    assert say(seed, begun, tokens=more, goes_on=True) == whole[said:]
