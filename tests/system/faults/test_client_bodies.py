"""
Rows 44 to 47, 50, 53, 54 and 56: bodies too large, compressed, malformed or of the wrong types,
names that would be paths, keys that are none, and requests that ask for too much.
"""

import json
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.inbound.routes import INFERENCE
from tests.support.application import bearer as signed
from tests.support.application import exchanged, raw, running
from tests.support.simulator import running_simulator
from tests.system.faults.clients import Front, answer, error, front, head, request, rest, statuses
from tests.system.world import KEY, ask, bearer, chat, gateway, post, until
from tests.system.world import settings as of

MIB = 1024 * 1024
MAX_BODY = 10 * MIB
AT_ONCE = 50


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    plan = {"tokens": "20000/minute", "requests": "100000/minute"}
    with front(tmp_path_factory.mktemp("bodies"), plan=plan) as made:
        assert post(made.gateway, chat(max_tokens=1)).status_code == 200
        yield made


# 44: too large


def _announced(edge: Front) -> tuple[int, str]:
    """Only the head is sent; what came of it."""
    with edge.connect() as client:
        client.sendall(head(f"content-length: {100 * MIB}"))
        heard = answer(client)
    return statuses(heard)[0], error(heard)["code"]


def _chunked(edge: Front) -> tuple[int, str, int]:
    """It is not said how much there will be; what was taken until there was an answer."""
    sent = 0
    with edge.connect() as client, suppress(ConnectionError):
        client.sendall(head("transfer-encoding: chunked"))
        client.settimeout(0)
        heard = b""
        while not heard and sent < 100 * MIB:
            with suppress(BlockingIOError):
                heard = client.recv(65_536)
            client.settimeout(20)
            client.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            client.settimeout(0)
            sent += 65_536
        client.settimeout(20)
        heard = answer(client, heard)
    return statuses(heard)[0], error(heard)["code"], sent


def test_44_a_body_of_100_mb_is_refused_as_soon_as_that_is_known(edge: Front) -> None:
    edge.simulator.fresh()
    sockets, base = edge.sockets(), edge.memory()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        announced = list(threads.map(lambda _: _announced(edge), range(AT_ONCE)))
    assert set(announced) == {(413, "request_too_large")}
    assert edge.memory() - base < 16 * MIB
    status, code, sent = _chunked(edge)
    assert (status, code) == (413, "request_too_large")
    assert MAX_BODY <= sent < 2 * MAX_BODY
    assert edge.simulator.requests() == []
    edge.settles(sockets)


def test_44_after_a_refusal_the_rest_of_the_body_is_no_request(edge: Front) -> None:
    hidden = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"
    body = hidden + b" " * (MAX_BODY + 1 - len(hidden))
    last = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with edge.connect() as client:
        client.sendall(request(body) + last)
        heard = rest(client)

    assert statuses(heard) == [413, 200]


# 45: compressed


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, identity", "x"])
def test_45_a_compressed_body_is_refused_unread(edge: Front, coding: str) -> None:
    with edge.connect() as client:
        client.sendall(head(f"content-encoding: {coding}", "content-length: 1000000"))
        heard = answer(client)

    assert statuses(heard) == [415]
    assert error(heard)["code"] == "unsupported_media_type"


# 46: malformed

_BEGUN = b'{"model":"chat","messages":[{"role":"user","content":"hi"}],"x":'
MALFORMED = {
    "nested-100000-deep": _BEGUN + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested-65-deep": _BEGUN + b"[" * 64 + b"]" * 64 + b"}",
    "a-million-elements": _BEGUN + b"[" + b"1," * 1_000_000 + b"1]}",
    "not-a-number": _BEGUN + b"NaN}",
    "infinity": _BEGUN + b"Infinity}",
    "1e400": _BEGUN + b"1e400}",
    "invalid-utf-8": _BEGUN + b'"\xff"}',
    "overlong-utf-8": _BEGUN + b'"\xc0\x80"}',
    "lone-surrogate": _BEGUN + b'"\\ud800"}',
    "surrogate-in-utf-8": _BEGUN + b'"\xed\xa0\x80"}',
    "byte-order-mark": b"\xef\xbb\xbf" + _BEGUN + b"1}",
    "utf-16": (_BEGUN + b"1}").decode().encode("utf-16"),
    "trailing-bytes": _BEGUN + b"1}x",
    "two-documents": (_BEGUN + b"1}") * 2,
    "control-in-a-string": _BEGUN + b'"\n"}',
    "nothing": b"",
    "half": _BEGUN,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_46_what_is_no_json_is_refused_before_anybody_else_sees_it(edge: Front, case: str) -> None:
    edge.simulator.fresh()
    told = _posted(edge, MALFORMED[case])

    assert (told["status"], told["code"]) == (400, "invalid_json")
    assert edge.simulator.requests() == []


def test_46_an_integer_of_5000_digits_is_no_number_that_goes_anywhere(edge: Front) -> None:
    """It is read as a float, which is infinite: JSON knows no such thing."""
    assert _posted(edge, _BEGUN + b"1" * 5000 + b"}")["status"] == 400
    assert (
        _posted(edge, b'{"model":"chat","messages":[],"n":' + b"1" * 5000 + b"}")["status"] == 400
    )


def test_46_of_a_name_that_comes_twice_one_value_holds_everywhere(edge: Front) -> None:
    """What goes upstream is written anew, so nobody further on can read the other."""
    edge.simulator.fresh()
    twice = b'{"model":"nowhere","model":"chat","messages":[{"role":"user","content":"hi"}]}'
    assert _posted(edge, twice)["status"] == 200
    [seen] = edge.simulator.requests()

    assert json.dumps(seen).count("nowhere") == 0


def _posted(edge: Front, content: bytes, path: str = "/v1/chat/completions") -> dict[str, Any]:
    told = ask("POST", edge.gateway.url + path, content=content, headers=bearer())
    return {"status": told.status_code, **told.json().get("error", {})}


# 47: wrong types

_WRONG = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "chat", "user", "text", "function", "auto", "\0", "\u202e", "x" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "name", ""]), inner)
    ),
    max_leaves=6,
)
_RIGHT: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": chat(max_tokens=1),
    "/v1/completions": {"model": "chat", "prompt": "hi", "max_tokens": 1},
    "/v1/embeddings": {"model": "chat", "input": "hi"},
}


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    route = draw(st.sampled_from(INFERENCE))
    names = sorted({*route.request.json_schema()["properties"], "tags", "echo"})
    body = dict(_RIGHT[route.path])
    body.update(draw(st.dictionaries(st.sampled_from(names), _WRONG, min_size=1, max_size=3)))
    return route.path, body


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Any]:
    async with (
        running_simulator(answer_tokens=1) as sim,
        running(tmp_path, sim=sim.url) as gateway,
    ):
        yield gateway


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=_bodies())
async def test_47_wrong_types_are_the_requests_fault(app: Any, case: tuple[str, Any]) -> None:
    path, body = case
    exchange = await exchanged(app, _written(body), path=path, headers=raw(signed()))

    assert exchange.status in {200, 400, 404}
    if exchange.status == 400:
        told = orjson.loads(exchange.body)["error"]
        assert told["param"] or told["code"], told


def _written(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


# 50, 54: names of models

NAMES = [
    "../../v1/files",
    "%2e%2e/files",
    "a//b",
    "/etc/passwd",
    "chat/../chat",
    "x" * 4096,
    "a\0b",
    "chat\0",
    "a\r\nx-injected: 1",
    "\U0001f6a2",
    "\u202echat",
    "chat ",
    "Chat",
    "{tenant}",
    "*",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:24])
def test_50_a_name_of_a_model_is_looked_up_and_nothing_else(edge: Front, name: str) -> None:
    edge.simulator.fresh()
    for stream in (False, True):
        told = ask(
            "POST",
            f"{edge.gateway.url}/v1/chat/completions",
            content=json.dumps(chat(model=name, stream=stream)),
            headers=bearer(),
        )
        assert (told.status_code, told.json()["error"]["code"]) == (404, "model_not_found")
        assert "x-injected" not in told.headers
    assert edge.simulator.requests() == []
    assert not [each for each in edge.gateway.metrics() if name in each and name != "*"]


# 53: keys


@pytest.mark.parametrize(
    "lines",
    [
        ["authorization: Bearer " + "x" * 8192],
        ["authorization: Bearer \u00e9\u00e8"],
        [f"authorization: Bearer {KEY} {KEY}"],
        [f"authorization: Basic {KEY}"],
        ["authorization: Bearer"],
        ["authorization:"],
        [f"authorization: Bearer {KEY[:-1]}"],
        [],
    ],
    ids=["8-kb", "unicode", "two-in-one", "basic", "none", "empty", "a-character-less", "nothing"],
)
def test_53_a_key_that_is_none_is_refused_in_the_same_words(edge: Front, lines: list[str]) -> None:
    heard = edge.said(_signed(*lines))

    assert statuses(heard) == [401]
    assert error(heard) == {
        "message": "Incorrect API key provided.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }


def test_53_two_keys_are_one_too_many(edge: Front) -> None:
    line = f"authorization: Bearer {KEY}"

    assert statuses(edge.said(_signed(line, line))) == [400]
    assert statuses(edge.said(_signed(line.replace("Bearer", "bearer")))) == [200]


def _signed(*lines: str) -> bytes:
    body = json.dumps(chat(max_tokens=1)).encode()
    told = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: gateway",
        "connection: close",
        f"content-length: {len(body)}",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(told).encode("latin-1") + body


# 52: loops


def test_52_a_request_that_goes_in_circles_is_ended(edge: Front) -> None:
    edge.simulator.fresh()
    assert [
        statuses(
            edge.said(request(chat(max_tokens=1), f"x-lockgate-hop: {hops}", "connection: close"))
        )
        for hops in (1, 2, 3)
    ] == [[200], [200], [508]]
    assert len(edge.simulator.requests()) == 2


def test_52_a_gateway_that_is_its_own_upstream_comes_to_an_end(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = of({"self": f"http://127.0.0.1:{port}"})
    config["providers"]["self"]["api_key"] = KEY
    config["models"]["chat"]["targets"] = [{"provider": "self", "model": "chat"}]
    with gateway(tmp_path, config, LOCKGATE_PORT=str(port)) as process:
        told = post(process, chat(max_tokens=1))
        until(process.is_idle, within=20)
        records = process.records()

    assert told.status_code >= 500
    assert [record["error"] for record in records].count("loop_detected") >= 1
    assert len(records) < 50


# 56: too much


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"n": 128, "max_tokens": 512}, 400, "request_exceeds_limit"),
        ({"n": 129}, 400, None),
        ({"max_tokens": 10**6}, 400, None),
        ({"max_tokens": 10**30}, 400, None),
        ({"n": 2, "max_tokens": 10, "logprobs": True, "top_logprobs": 20}, 200, None),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "parameters": {"type": "object", "description": "x" * 5 * MIB},
                        },
                    }
                ]
            },
            400,
            "request_exceeds_limit",
        ),
    ],
    ids=["128-answers", "129-answers", "a-million", "10-to-30", "logprobs", "5-mb-of-a-tool"],
)
def test_56_what_a_request_may_come_to_is_reckoned_before_it_is_sent(
    edge: Front, fields: dict[str, Any], status: int, code: str | None
) -> None:
    told = post(edge.gateway, chat(**fields))

    assert told.status_code == status, told.text
    if code:
        assert told.json()["error"]["code"] == code
