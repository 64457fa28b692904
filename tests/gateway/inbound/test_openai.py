import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import Gateway
from gateway.inbound.openai import Inference
from gateway.pipeline import Pipeline
from tests.support.application import (
    CHAT,
    CHAT_PATH,
    CONFIG,
    bearer,
    built,
    client,
    exchanged,
    raw,
    running,
)
from tests.support.faulty import replying, response, serving
from tests.support.simulator import RunningSimulator, running_simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")  # a gateway runs on one loop

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
COMPLETION = {"model": "chat", "prompt": "Hi"}
EMBEDDING = {"model": "chat", "input": "Hi"}
FORBIDDEN = "a value that no message may repeat " * 8
MAX_MESSAGE = 400
"""Characters of an error's message, whatever was sent."""


@pytest_asyncio.fixture(loop_scope="module")
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(answer_tokens=4) as simulator:
        yield simulator


@pytest_asyncio.fixture(loop_scope="module")
async def http(sim: RunningSimulator, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running(tmp_path, sim=sim.url) as gateway, client(gateway) as http:
        yield http


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """
    A gateway whose upstream does not exist and is asked for ever: what passes its checks is
    encoded for the upstream, and is then a 503.
    """
    patient = "health: {consecutive_failures: 1000000, failure_rate: 1, window: 1000}\n"
    return built(tmp_path_factory.mktemp("state"), CONFIG + patient)


async def refusal(app: Gateway, content: bytes, path: str = CHAT_PATH) -> dict[str, Any]:
    """The error of a body that must be refused, checked to be of OpenAI's shape."""
    exchange = await exchanged(app, content, path=path)
    assert exchange.status == 400, exchange.body
    return shaped(exchange.body)


def shaped(content: bytes) -> dict[str, Any]:
    """The error in a body of OpenAI's shape."""
    body = json.loads(content)
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert 0 < len(error["message"]) <= MAX_MESSAGE
    assert isinstance(error["type"], str)
    assert isinstance(error["param"], str | None)
    assert isinstance(error["code"], str | None)
    return error


# Bodies that are no JSON


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{\n  "model": chat}', "line 2, column 12"),
        (b'{"model": "chat", "seed": NaN}', "line 1, column 27"),
        (b'{"model": "chat", "top_p": -Infinity}', "line 1"),
        (b'{"model": "chat", "top_p": 1e999}', "line 1"),
        (b'{"a": 1} {"b": 2}', "line 1, column 10"),
        (b'{"a": 1}\x00', "line 1, column 9"),
        (b"\xef\xbb\xbf" + orjson.dumps(CHAT), "line 1, column 1"),
        (json.dumps(CHAT).encode("utf-16"), "line 1"),
        (json.dumps(CHAT).encode("utf-16-le"), "line 1"),
        (b'{"model": "\xff"}', "line 1"),
        (b'{"model": "\xed\xa0\x80"}', "line 1"),
        (b'{"model": "\\ud800"}', "line 1"),
        (b'{"model": "\\udc00\\ud800"}', "line 1"),
        (b"'model'", "line 1, column 1"),
        (b"9" * 10_000, "line 1"),
    ],
)
async def test_a_body_that_is_no_json_is_refused_with_the_place_of_its_fault(
    alone: Gateway, content: bytes, place: str
) -> None:
    error = await refusal(alone, content)

    assert error["code"] == "invalid_json"
    assert place in error["message"]


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=200))
async def test_no_bytes_make_the_gateway_fail(alone: Gateway, content: bytes) -> None:
    await refusal(alone, content)


@settings(deadline=None, max_examples=150)
@given(content=st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
async def test_no_text_makes_the_gateway_fail(alone: Gateway, content: bytes) -> None:
    await refusal(alone, content)


@pytest.mark.parametrize(("depth", "status"), [(50, 503), (254, 400), (255, 400), (1000, 400)])
@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("kind", ["[]", '{"a":}'])
async def test_a_deeply_nested_body_is_passed_on_or_refused_and_never_a_failure(
    alone: Gateway, depth: int, status: int, path: str, kind: str
) -> None:
    opened, closed = kind[:-1].encode(), kind[-1:].encode()
    nested = opened * depth + (b"1" if kind[0] == "{" else b"") + closed * depth
    fields = orjson.dumps({**CHAT, **COMPLETION, **EMBEDDING})[:-1]

    exchange = await exchanged(alone, fields + b',"extra":' + nested + b"}", path=path)

    assert exchange.status == status
    shaped(exchange.body)


# Bodies that are JSON and not of the dialect

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = {
    CHAT_PATH: (
        "model", "messages", "stream", "stream_options", "temperature", "top_p", "n", "stop",
        "presence_penalty", "frequency_penalty", "logit_bias", "seed", "user", "max_tokens",
        "max_completion_tokens", "logprobs", "top_logprobs", "response_format", "tools",
        "tool_choice", "parallel_tool_calls", "functions", "function_call", "reasoning_effort",
        "metadata", "store", "unknown",
    ),
    "/v1/completions": ("model", "prompt", "stream", "n", "stop", "best_of", "echo", "suffix"),
    "/v1/embeddings": ("model", "input", "encoding_format", "dimensions", "user", "stream"),
}  # fmt: skip
BASE: dict[str, dict[str, Any]] = {
    CHAT_PATH: CHAT,
    "/v1/completions": COMPLETION,
    "/v1/embeddings": EMBEDDING,
}
HARMLESS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@HARMLESS
@given(data=st.data(), path=st.sampled_from(sorted(FIELDS)))
async def test_any_json_in_any_field_is_passed_on_or_refused_in_the_dialect(
    alone: Gateway, data: st.DataObject, path: str
) -> None:
    fields = st.dictionaries(st.sampled_from(FIELDS[path]), JSON, min_size=1, max_size=3)
    body = {**BASE[path], **data.draw(fields)}

    exchange = await exchanged(
        alone, json.dumps(body, ensure_ascii=False).encode(errors="replace"), path=path
    )

    assert exchange.status in {400, 404, 503}
    error = shaped(exchange.body)
    if exchange.status == 400 and error["code"] != "invalid_json":
        assert error["param"] is not None
        assert re.split(r"[.\[]", error["param"])[0] in {*FIELDS[path], *BASE[path]}


@HARMLESS
@given(value=JSON)
async def test_any_json_in_place_of_a_message_is_refused(alone: Gateway, value: Any) -> None:
    body = json.dumps({"model": "chat", "messages": [value]}).encode()

    error = await refusal(alone, body)

    assert error["code"] == "invalid_json" or error["param"].startswith("messages")


@HARMLESS
@given(value=JSON.filter(lambda value: not isinstance(value, dict)))
async def test_a_body_that_is_no_object_is_refused(alone: Gateway, value: Any) -> None:
    error = await refusal(alone, json.dumps(value).encode())

    assert error["code"] in {"invalid_type", "invalid_json"}
    assert error["param"] is None


@pytest.mark.parametrize("path", sorted(FIELDS))
@pytest.mark.parametrize(
    "value", [FORBIDDEN, [FORBIDDEN], {FORBIDDEN: FORBIDDEN}, [{"role": FORBIDDEN}], 10**400, 2**70]
)
async def test_a_message_never_repeats_what_was_sent(alone: Gateway, path: str, value: Any) -> None:
    for field in FIELDS[path]:
        content = json.dumps({**BASE[path], field: value}).encode()
        exchange = await exchanged(alone, content, path=path)
        assert exchange.status in {400, 404, 503}, field
        told = shaped(exchange.body)
        assert FORBIDDEN[:70] not in told["message"], field
        assert len(told["param"] or "") <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": ["chat"]}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ],
)
async def test_a_fault_is_told_by_its_field(
    alone: Gateway, change: dict[str, Any], param: str
) -> None:
    error = await refusal(alone, orjson.dumps({**CHAT, **change}))

    assert (error["param"], error["type"]) == (param, "invalid_request_error")


@pytest.mark.parametrize("stream", [True, 1, "yes", ["x"]])
async def test_embeddings_do_not_stream(alone: Gateway, stream: Any) -> None:
    content = orjson.dumps({**EMBEDDING, "stream": stream})

    error = await refusal(alone, content, path="/v1/embeddings")

    assert error["param"] == "stream"


# Headers


async def test_every_answer_has_the_headers_that_tell_what_became_of_it(
    http: httpx.AsyncClient,
) -> None:
    whole = await http.post(CHAT_PATH, json=CHAT)
    streamed = await http.post(CHAT_PATH, json={**CHAT, "stream": True})

    for answer in (whole, streamed):
        assert answer.status_code == 200
        assert ULID.fullmatch(answer.headers["x-request-id"])
        assert answer.headers["x-lockgate-model"] == "chat"
        assert answer.headers["x-lockgate-attempts"] == "1"
        assert re.fullmatch(
            r"gateway;dur=\d+\.\d, upstream;dur=\d+\.\d", answer.headers["server-timing"]
        )
        assert answer.headers["openai-processing-ms"].isdigit()
        assert "x-lockgate-target" not in answer.headers
        assert "x-lockgate-dropped" not in answer.headers
        assert "x-client-request-id" not in answer.headers
    assert whole.headers["x-request-id"] != streamed.headers["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, orjson.dumps(CHAT), 401),
        (bearer(), b"{", 400),
        (bearer(), orjson.dumps({**CHAT, "model": "none"}), 404),
        (bearer(), orjson.dumps(CHAT), 503),
    ],
)
async def test_every_refusal_has_a_request_id_and_says_whether_to_retry(
    alone: Gateway, headers: dict[str, str], content: bytes, status: int
) -> None:
    exchange = await exchanged(
        alone, content, headers=raw({**headers, "x-client-request-id": "mine"})
    )

    assert exchange.status == status
    assert ULID.fullmatch(exchange.headers["x-request-id"])
    assert exchange.headers["x-client-request-id"] == "mine"
    assert exchange.headers["x-should-retry"] == ("true" if status == 503 else "false")
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.headers["content-length"] == str(len(exchange.body))


@pytest.mark.parametrize(
    ("headers", "echoed"),
    [
        ([(b"x-client-request-id", b"abc_DEF-9")], "abc_DEF-9"),
        ([(b"x-request-id", b"theirs")], "theirs"),
        ([(b"x-request-id", b"theirs"), (b"x-client-request-id", b"mine")], "mine"),
        ([(b"x-client-request-id", b"mine"), (b"x-request-id", b"theirs")], "mine"),
        ([(b"x-client-request-id", b"a" * 64)], "a" * 64),
        ([(b"x-client-request-id", b"a" * 65)], None),
        ([(b"x-client-request-id", b"")], None),
        ([(b"x-client-request-id", b"two words")], None),
        ([(b"x-client-request-id", b"a\r\nset-cookie: b")], None),
        ([(b"x-client-request-id", b"a\n")], None),
        ([(b"x-client-request-id", b"a\x00")], None),
        ([(b"x-client-request-id", "é".encode())], None),
        ([(b"x-client-request-id", b"no way"), (b"x-request-id", b"theirs")], "theirs"),
    ],
)
async def test_a_clients_own_id_comes_back_if_it_is_harmless_and_is_never_the_requests_id(
    alone: Gateway, headers: list[tuple[bytes, bytes]], echoed: str | None
) -> None:
    exchange = await exchanged(alone, b"{", headers=[*raw(bearer()), *headers])

    assert exchange.headers.get("x-client-request-id") == echoed
    assert exchange.headers["x-request-id"] != echoed
    assert not [name for name in exchange.headers if "cookie" in name]


@settings(deadline=None, max_examples=100)
@given(
    value=st.binary(max_size=80), name=st.sampled_from([b"x-client-request-id", b"x-request-id"])
)
async def test_no_client_id_puts_a_control_character_into_a_response(
    alone: Gateway, value: bytes, name: bytes
) -> None:
    exchange = await exchanged(alone, b"{", headers=[*raw(bearer()), (name, value)])

    for _, sent in exchange.sent[0]["headers"]:
        assert re.fullmatch(rb"[ -~]*", sent)


@pytest.mark.parametrize("model", ["chat\r\nset-cookie: a=b", "chat\n", "\x00", "chat\u2028"])
async def test_a_model_name_that_is_not_known_reaches_no_header(alone: Gateway, model: str) -> None:
    exchange = await exchanged(alone, orjson.dumps({**CHAT, "model": model}))

    assert exchange.status == 404
    assert "x-lockgate-model" not in exchange.headers
    assert model not in str(exchange.headers.values())


async def test_names_of_the_configuration_are_escaped_in_headers(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT_PATH, json={**CHAT, "model": 'naïve "chat"'})

    assert answer.headers["x-lockgate-model"] == 'na\\xefve "chat"'
    assert answer.headers["x-lockgate-target"] == "sim/demo-model"
    assert answer.json()["model"] == 'naïve "chat"'


async def test_fields_that_the_upstream_would_refuse_are_named_in_a_header(
    sim: RunningSimulator, tmp_path: Path
) -> None:
    text = CONFIG.replace('base_url: "${SIM}"', 'base_url: "${SIM}", drop_params: true')
    async with running(tmp_path, text, sim=sim.url) as gateway, client(gateway) as http:
        answer = await http.post(
            CHAT_PATH, json={**CHAT, "top_k": 3, "mine\r\nx: y": 1, "min_p": 0}
        )

    assert answer.headers["x-lockgate-dropped"] == "top_k, min_p"


async def test_no_header_of_the_upstreams_reaches_the_client(tmp_path: Path) -> None:
    sent = [
        ("content-type", "application/json"),
        ("set-cookie", "a=b"),
        ("x-request-id", "theirs"),
        ("openai-organization", "org"),
        ("x-ratelimit-remaining-requests", "7"),
        ("server", "theirs"),
    ]
    whole = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    async with (
        serving(replying(response(whole, headers=sent))) as server,
        running(tmp_path, sim=server.origin) as gateway,
    ):
        exchange = await exchanged(gateway, orjson.dumps(CHAT))

    assert exchange.headers.keys() == {
        "content-type", "content-length", "x-request-id", "x-lockgate-attempts",
        "x-lockgate-model", "server-timing", "openai-processing-ms",
    }  # fmt: skip
    assert exchange.headers["x-request-id"] != "theirs"


async def test_limits_are_told_in_headers_of_answers_and_refusals(
    sim: RunningSimulator, tmp_path: Path
) -> None:
    text = CONFIG.replace("free: {}", "free: {requests: 1/hour}")
    async with running(tmp_path, text, sim=sim.url) as gateway, client(gateway) as http:
        answer = await http.post(CHAT_PATH, json=CHAT)
        refused = await http.post(CHAT_PATH, json=CHAT)

    assert answer.headers["x-ratelimit-limit-requests"] == "1"
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.status_code == 429
    assert shaped(refused.content)["code"] == "rate_limit_exceeded"
    assert refused.headers["x-should-retry"] == "true"
    assert 0 < int(refused.headers["retry-after"]) <= 3700
    assert int(refused.headers["retry-after-ms"]) <= int(refused.headers["retry-after"]) * 1000


# Faults of our own


async def test_a_fault_of_the_gateways_is_a_constant_500_and_is_logged_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret particulars")

    async with running(tmp_path) as gateway:
        monkeypatch.setattr(Pipeline, "attempt_record", fail)
        exchange = await exchanged(gateway, orjson.dumps(CHAT))

    assert exchange.status == 500
    error = shaped(exchange.body)
    assert error["code"] == "internal_error"
    assert "particulars" not in exchange.body.decode() + str(exchange.headers)
    assert ULID.fullmatch(exchange.headers["x-request-id"])
    assert exchange.headers["x-should-retry"] == "false"
    (logged,) = capfd.readouterr().out.splitlines()
    assert "the secret particulars" in logged
    assert json.loads(logged)["request_id"] == exchange.headers["x-request-id"]


async def test_a_fault_after_the_start_of_a_stream_ends_it_with_one_error_event(
    sim: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("the secret particulars")

    async with running(tmp_path, sim=sim.url, log_level="error") as gateway:
        monkeypatch.setattr("gateway.inbound.relay.Renamer.event", fail)
        exchange = await exchanged(gateway, orjson.dumps({**CHAT, "stream": True}))

    assert exchange.status == 200
    assert exchange.body.startswith(b'data: {"error":')
    assert b"internal_error" in exchange.body
    assert b"particulars" not in exchange.body
    assert exchange.sent[-1]["more_body"] is False


async def test_an_endpoint_is_made_for_each_route_of_the_table(alone: Gateway) -> None:
    assert all(isinstance(each, Inference) for each in _endpoints(alone).values())
    assert sorted(_endpoints(alone)) == sorted(FIELDS)


def _endpoints(gateway: Gateway) -> dict[str, Any]:
    edge: Any = gateway.data
    return dict(edge._inference)
