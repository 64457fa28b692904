"""Whatever bytes come, a body is a valid one or a 400 that names the fault."""

import json
import tracemalloc

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.chat import CHAT
from gateway.contract.errors import InvalidRequest
from gateway.inbound.parse import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_STRINGS,
    MAX_VALUES,
    SMALL,
    parse,
)

MIB = 1024 * 1024
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
        parse(content, CHAT)


@given(st.dictionaries(st.text().map("x-{}".format), JSON))
def test_unknown_fields_are_kept_as_they_came(unknown: dict[str, object]) -> None:
    content = orjson.dumps(
        orjson.loads(orjson.dumps({"model": "m", "messages": MESSAGES, **_finite(unknown)}))
    )

    assert parse(content, CHAT) == orjson.loads(content)


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
        b'{"model": Infinity}',
        b'{"model": -Infinity}',
        '{"model": "m"}'.encode("utf-32"),
        b'{"model": "m"}\0',
        b'{"model": 01}',
        b'{"model": "\\udc00\\ud800"}',
        b'{"model": "\xed\xa0\x80"}',
        b'{"model": "a\nb"}',
        b"{'model': 1}",
        b'{"model": 1,}',
        b'{"model": tru}',
        b'/* */ {"model": 1}',
    ],
)
def test_what_is_not_json_is_told_with_its_place(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"line \d+, column \d+") as raised:
        parse(content, CHAT)

    assert raised.value.code == "invalid_json"


def test_a_body_may_be_as_deep_as_the_bound() -> None:
    body = parse(_nested(MAX_DEPTH), CHAT)

    assert orjson.dumps(body)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 255, 1000, SMALL // 3])
def test_a_body_may_not_be_deeper_than_the_bound(levels: int) -> None:
    with pytest.raises(InvalidRequest, match="nested more than 64 levels"):
        parse(_nested(levels), CHAT)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
@settings(max_examples=10)
@given(data=st.data())
def test_depth_is_told_apart_from_what_stands_in_strings(depth: int, data: st.DataObject) -> None:
    """Alternating kinds, brackets and quotation marks within strings, blanks between."""
    noise = st.text(alphabet='[]{}"\\,:x ', max_size=8)
    body = "0"
    for _ in range(depth - 1):
        drawn = data.draw(noise)
        text, other = json.dumps(drawn), json.dumps(drawn + "}")
        body = data.draw(
            st.sampled_from([f"[{text}, {body}]", f"[{body} ]", f"{{{text}: {body}, {other}: 1}}"])
        )
    content = f'{{"model": "m", "messages": {json.dumps(MESSAGES)}, "x": {body}}}'.encode()

    if depth == MAX_DEPTH:
        assert parse(content, CHAT) == orjson.loads(content)
    else:
        with pytest.raises(InvalidRequest, match="nested more than 64 levels"):
            parse(content, CHAT)


@pytest.mark.parametrize("size", [0, SMALL])
def test_depth_is_bounded_whatever_the_size(size: int) -> None:
    """Within the bound on one side, without on the other, beside text of so many bytes."""
    for levels, is_taken in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
        content = _nested(levels)[:-1] + b',"text":"%b"}' % (b"[" * size)
        if is_taken:
            assert parse(content, CHAT) == orjson.loads(content)
        else:
            with pytest.raises(InvalidRequest, match="nested more than 64 levels"):
                parse(content, CHAT)


def test_what_is_said_in_a_prompt_of_code_is_not_gone_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.inbound.parse._structure", pytest.fail)
    code = "for (const x of [1, 2]) { print({x: [x]}) }\n" * 500
    content = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": code}]})

    assert len(content) <= SMALL
    assert parse(content, CHAT)["messages"][0]["content"] == code


def test_a_small_body_can_not_hold_too_much() -> None:
    for unit in (b"[],", b"{},", b'"",', b"1,"):
        content = _with(unit * ((SMALL - 100) // len(unit)) + b"1")
        assert len(content) <= SMALL
        assert parse(content, CHAT) == orjson.loads(content)


def _with(filling: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":[%b]}' % filling


TOO_MANY = {
    "lists": _with(b"[]," * MAX_NODES + b"1"),
    "objects": _with(b"{}," * MAX_NODES + b"1"),
    "numbers": _with(b"1," * MAX_VALUES + b"1"),
    "strings": _with(b'"",' * MAX_STRINGS + b"1"),
    "names": _with(b"{%b}" % b",".join(b'"%x":1' % n for n in range(MAX_STRINGS))),
    "messages": b'{"model":"m","messages":[%b]}'
    % b",".join([b'{"role":"user","content":""}'] * MAX_NODES),
    "ten-mebibytes-of-brackets": b"[" * 10 * MIB,
    "ten-mebibytes-of-lists": _with(b"[]," * (10 * MIB // 3) + b"1"),
}


@pytest.mark.parametrize("case", TOO_MANY)
def test_a_body_of_too_many_values_is_refused_before_they_are_made(case: str) -> None:
    content = TOO_MANY[case]
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="more than") as raised:
            parse(content, CHAT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert raised.value.code == "invalid_json"
    assert peak < 20 * len(content)


ENOUGH = {
    "lists": _with(b"[]," * (MAX_NODES - 4) + b"1"),
    "numbers": _with(b"1," * (MAX_VALUES - 10) + b"1"),
    "strings": _with(b'"",' * (MAX_STRINGS - 10) + b"1"),
    "commas-in-a-string": _with(b'"%b"' % (b"," * 2 * MAX_VALUES)),
    "brackets-in-a-string": _with(b'"%b"' % (b"[{" * 2 * MAX_NODES)),
    "quoted-json-in-a-string": _with(json.dumps('{"a": ["\\\\"]},' * MAX_NODES).encode()),
}


@pytest.mark.parametrize("case", ENOUGH)
def test_a_body_within_the_bounds_is_taken_whatever_its_strings_hold(case: str) -> None:
    assert parse(ENOUGH[case], CHAT) == orjson.loads(ENOUGH[case])


@given(st.binary(max_size=64), st.sampled_from([b"[", b"{", b'"', b"\\", b","]))
def test_bytes_that_are_no_json_are_a_fault_of_the_request(noise: bytes, unit: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(unit * 100 + noise, CHAT)
