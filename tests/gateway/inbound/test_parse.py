"""Whatever bytes come, a body is a valid one or a 400 that names the fault."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.chat import ChatRequest
from gateway.contract.errors import InvalidRequest
from gateway.inbound.parse import MAX_DEPTH, MAX_NODES, parse

MESSAGES = [{"role": "user", "content": "hi"}]
JSON = st.recursive(
    # Small trees: depth and size have tests of their own.
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def _nested(levels: int) -> bytes:
    """A chat with an unknown field, `levels` levels deep in all."""
    inner = b"[" * (levels - 1) + b"]" * (levels - 1)
    return b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":%b}' % inner


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_than_a_chat_is_an_invalid_request(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(content, ChatRequest)


@given(st.dictionaries(st.text().map("x-{}".format), JSON))
def test_unknown_fields_are_kept_as_they_came(unknown: dict[str, object]) -> None:
    content = orjson.dumps(
        orjson.loads(orjson.dumps({"model": "m", "messages": MESSAGES, **_finite(unknown)}))
    )

    assert parse(content, ChatRequest) == orjson.loads(content)


def _finite(value: object) -> dict[str, object]:
    """What JSON can say of it: 64-bit integers, finite numbers, no lone surrogates."""
    text = json.dumps(value, default=str).encode("utf-8", "replace")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"model": NaN}',
        b'{"model": 1e400}',
        b"\xef\xbb\xbf{}",
        '{"model": "m"}'.encode("utf-16"),
        b'{"model": "m"} x',
        b'{"model": "\\ud800"}',
        b'{"model": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_is_told_with_its_place(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"line \d+, column \d+") as raised:
        parse(content, ChatRequest)

    assert raised.value.code == "invalid_json"


def test_a_body_may_be_as_deep_as_the_bound() -> None:
    body = parse(_nested(MAX_DEPTH), ChatRequest)

    assert orjson.dumps(body)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 255, 1000])
def test_a_body_may_not_be_deeper_than_the_bound(levels: int) -> None:
    with pytest.raises(InvalidRequest, match="nested more than 64 levels"):
        parse(_nested(levels), ChatRequest)


def test_a_body_may_not_have_more_objects_than_the_bound() -> None:
    content = b'{"model":"m","messages":[],"x":[%b[]]}' % (b"[]," * MAX_NODES)

    with pytest.raises(InvalidRequest, match="more than 100000 objects"):
        parse(content, ChatRequest)
