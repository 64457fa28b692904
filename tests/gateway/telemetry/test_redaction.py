"""Nothing secret and nothing that plays tricks gets past the redaction."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway.telemetry.redaction import MAX_FIELD, MAX_READ, REPLACED, Redaction

KEY = "lg_0a1B2c3D4e5F_0123456789abcdefghijABCDEFGHIJ01xYz123"
SECRETS = ["s3cret-pepper", "s3cret-pepper-longer", 'quo"ted\\one', "клю́ч-секрет"]


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY} was used",
        f"cut short {KEY[:24]}",
        "authorization: Bearer abc.def-ghi_jkl",
        "AUTHORIZATION: bearer\tabcdefghijkl",
        "x sk-proj-AbCdEfGhIjKlMnOpQrSt y",
        "token hf_AbCdEfGhIjKlMnOpQrSt",
        "redis://user:hunter22@cache:6379/0",
        *SECRETS,
    ],
)
def test_whatever_looks_like_a_credential_is_replaced(text: str) -> None:
    clean = Redaction(SECRETS).text(text)
    assert REPLACED in clean
    for part in (KEY[16:], "abcdefghijkl", "abc.def", "AbCdEfGh", "hunter22", *SECRETS):
        assert part not in clean


def test_ordinary_text_is_left_alone() -> None:
    text = "POST https://host/v1/chat/completions: basic checks of a bearer, 3 task-1 sk- lg_x"
    assert Redaction(["other"]).text(text) == text


def test_secrets_learnt_later_are_replaced_and_earlier_ones_still() -> None:
    redaction = Redaction(["first-secret"])
    assert redaction.word("second-secret") == "second-secret"
    redaction.learn(["second-secret", ""])
    assert redaction.word("second-secret first-secret") == f"{REPLACED} {REPLACED}"
    assert redaction.word("second-secret") == REPLACED


def test_what_a_client_sent_is_not_quoted_by_a_validation_error() -> None:
    class Chat(BaseModel):
        n: int

    with pytest.raises(ValidationError) as caught:
        Chat.model_validate({"n": "my private prompt"})
    assert "my private prompt" in str(caught.value)
    assert "private" not in Redaction().text(str(caught.value))


@given(
    before=st.text(max_size=MAX_READ),
    secret=st.text(st.characters(min_codepoint=48, max_codepoint=122), min_size=4, max_size=600),
    padding=st.integers(0, MAX_READ),
)
def test_no_part_of_a_secret_is_left_where_the_text_is_cut(
    before: str, secret: str, padding: int
) -> None:
    redaction = Redaction([secret])
    text = before + "." * padding
    clean = redaction.text(text + secret * 40)
    assert secret not in clean or secret in REPLACED
    assert len(clean.encode()) <= MAX_FIELD


def test_a_secret_that_is_cut_at_the_reading_bound_leaves_no_half_of_itself() -> None:
    secret = "".join(f"{n:04d}" for n in range(400))
    clean = Redaction([secret]).text((secret + " ") * 40)
    assert clean.replace(REPLACED, "").strip() == ""


@given(st.text())
def test_clean_text_is_bounded_encodable_and_without_tricks(text: str) -> None:
    clean = Redaction().text(text * 20)
    assert len(clean.encode("utf-8")) <= MAX_FIELD
    assert not any("\x7f" <= c <= "\x9f" or "\u202a" <= c <= "\u202e" for c in clean)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.just(object()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(VALUES)
def test_any_value_becomes_one_that_json_can_hold(value: object) -> None:
    assert b"\n" not in orjson.dumps(Redaction().field(value))


def test_deep_and_wide_values_are_cut() -> None:
    deep: Any = "end"
    for _ in range(100):
        deep = [deep]
    redaction = Redaction()
    assert len(orjson.dumps(redaction.field(deep))) < 1200
    assert len(redaction.field(list(range(1000)))) == 64
    assert len(redaction.field({str(n): n for n in range(1000)})) == 64
