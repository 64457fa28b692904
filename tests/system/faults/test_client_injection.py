"""Rows 48, 57 and 92: nothing that a client says ends a line, starts a header or fills a log."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.faults.clients import Front, front, head, request, statuses
from tests.system.world import chat, until

BIDI = "\u202e\u2066\u200f\u2028\u2029\ufeff"
NASTY = [
    "a\r\nx-injected: 1",
    "a\nx-injected: 1",
    "a\rx-injected: 1",
    "a\0b",
    "\x1b[31mred\x1b[0m\x07",
    "\x7f\x80\x9b31m\u0085",
    BIDI,
    '"}\n{"event":"request","outcome":"ok"}',
    "x" * 65_536,
    "\U0001f6a2" * 1000,
    "%0d%0ax-injected:%201",
    "${jndi:ldap://a}",
]
FIELDS = ["model", "user", "service_tier", "safety_identifier", "prompt_cache_key"]
HEADERS = [
    "x-request-id",
    "x-client-request-id",
    "x-lockgate-tags",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "user-agent",
    "openai-organization",
    "x-stainless-retry-count",
    "x-forwarded-for",
    "origin",
    "accept",
]
CANARY = "sk-proj-0123456789abcdefCANARY"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    http = {"trusted_proxies": ["127.0.0.0/8"]}
    with front(
        tmp_path_factory.mktemp("injection"), http=http, options=("--answer-tokens", "1")
    ) as made:
        yield made


def _lines(edge: Front) -> list[dict[str, Any]]:
    """Every line of the log; what is no JSON was printed before there was a log."""
    return [json.loads(line) for line in edge.gateway.output.splitlines() if line[:1] == "{"]


def _texts(told: Any) -> Iterator[str]:
    match told:
        case str():
            yield told
        case dict():
            for name, value in told.items():
                yield name
                yield from _texts(value)
        case list():
            for value in told:
                yield from _texts(value)


def _check_log(edge: Front) -> None:
    printed = edge.gateway.output
    others = [line for line in printed.splitlines() if not line.startswith("{")]
    assert all(line.startswith("lockgate: ") for line in others)
    assert not [
        each for each in printed if (each < " " and each != "\n") or "\x7f" <= each < "\xa0"
    ]
    assert not set(BIDI) & set(printed)
    for line in _lines(edge):
        for text in _texts(line):
            assert len(text.encode()) <= 1024
    assert "x-injected" not in {name for line in _lines(edge) for name in line}


def test_48_92_what_stands_in_a_field_ends_no_line_anywhere(edge: Front) -> None:
    before = len(edge.gateway.records())
    bodies = [chat(**{field: value}, max_tokens=1) for field in FIELDS for value in NASTY] + [
        chat(**{value: 1}, max_tokens=1) for value in NASTY
    ]
    for body in bodies:
        heard = edge.said(request(body, "connection: close"))
        assert statuses(heard) in ([200], [404]), body
        _check_answer(heard)
    until(lambda: len(edge.gateway.records()) == before + len(bodies), within=20)
    _check_log(edge)
    names = {record["model"] for record in edge.gateway.records() if record.get("model")}
    assert names <= {"chat"}


@pytest.mark.parametrize("name", HEADERS)
def test_48_92_what_stands_in_a_header_is_refused_or_ends_no_line(edge: Front, name: str) -> None:
    edge.simulator.fresh()
    for value in NASTY:
        body = json.dumps(chat(max_tokens=1)).encode()
        lines = ("connection: close", f"content-length: {len(body)}")
        sent = head(*lines, "X: Y").replace(b"X: Y", f"{name}: {value}".encode()) + body
        heard = edge.said(sent)
        assert statuses(heard)[0] in {200, 400, 431}, value
        _check_answer(heard)
    _check_log(edge)
    for seen in edge.simulator.requests():
        assert "x-injected" not in {each.lower() for each in seen["headers"]}


def _check_answer(heard: bytes) -> None:
    lines = heard.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    headers = dict(line.split(b": ", 1) for line in lines)
    assert b"x-injected" not in headers
    assert len(lines) == len(headers)
    assert len(headers[b"x-request-id"]) == 26
    for value in headers.values():
        assert value.isascii()
        assert not [each for each in value if each < 0x20]
        assert len(value) <= 1024


def test_48_an_id_of_the_clients_own_is_taken_if_it_is_harmless(edge: Front) -> None:
    for told, kept in [("abc_DEF-9", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)]:
        line = f"x-client-request-id: {told}"
        heard = edge.said(request(chat(max_tokens=1), line, "connection: close"))
        assert (f"\r\nx-client-request-id: {told}\r\n".encode() in heard) == kept


def test_92_a_path_that_is_a_whole_line_of_its_own_is_one_line(edge: Front) -> None:
    for path in ("/%0a%7b%22event%22:1%7d", "/" + "%1b" * 300, "/%e2%80%ae", "/" + "a" * 9000):
        sent = f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode()
        assert statuses(edge.said(sent)) == [404]
    _check_log(edge)


def test_57_a_secret_in_a_prompt_is_nowhere_to_be_found(edge: Front) -> None:
    said = [{"role": "user", "content": f"my key is {CANARY}"}]
    for fields in ({}, {"stream": True}, {"n": 0}, {"model": "nowhere"}):
        edge.said(request(chat(**{"messages": said, **fields}), "connection: close"))
    edge.gateway.told(4)

    assert "CANARY" not in edge.gateway.output
    assert "CANARY" not in " ".join(edge.gateway.metrics())
