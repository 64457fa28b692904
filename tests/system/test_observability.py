"""What operators see of a request, and what nobody may see: prompts, keys and credentials."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.system.world import (
    KEY,
    OPERATOR,
    PEPPER,
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    chat,
    gateway,
    key,
    post,
    settings,
    simulator,
    until,
    vllm,
)

PROMPT = "canary-of-a-prompt"
HEADER = "canary-of-a-header"
CREDENTIAL = "sk-canary-of-a-provider-0123456789"
UNKNOWN = key(77)
CANARIES = (PROMPT, HEADER, CREDENTIAL, KEY, UNKNOWN, OPERATOR, PEPPER)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
FIELDS = {
    *("timestamp", "level", "event", "request_id", "client_request_id", "trace_id", "tenant"),
    *("project", "key", "operation", "model", "stream", "target", "status", "outcome", "error"),
    *("limited_by", "finish_reasons", "attempts", "prompt_tokens", "completion_tokens"),
    *("cached_tokens", "cost_nano_usd", "usage_source", "first_content_ms", "total_ms"),
}


@dataclass
class Collector:
    """A collector of spans that keeps what it is sent, and the headers that it came with."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        """One export."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            told = resource.resource.attributes
            self.resources.append({each.key: each.value.string_value for each in told})
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def of(self, trace: str) -> list[Span]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id.hex() == trace]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on loopback for exports."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        """Takes exports."""

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            collector.take(self.rfile.read(length))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Simulator]]:
    folder = tmp_path_factory.mktemp("simulators")
    options = ("--api-key", CREDENTIAL)
    with simulator(folder, *options) as first, simulator(folder, *options) as second:
        yield first, second


@pytest.fixture(scope="module")
def process(
    pair: tuple[Simulator, Simulator],
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    first, second = pair
    config = settings({"a": first.url, "b": second.url}, plan={"requests": "10000/hour"})
    config["providers"] = {
        name: vllm(url, api_key="${PROVIDER_KEY}")
        for name, url in (("a", first.url), ("b", second.url))
    }
    config["tenants"]["small"] = {
        "plan": "one",
        "models": ["chat"],
        "keys": [{"name": "k", "key": key(78)}],
    }
    config["plans"]["one"] = {"requests": "1/hour"}
    with gateway(
        tmp_path_factory.mktemp("gateway"),
        config,
        PROVIDER_KEY=CREDENTIAL,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="50",
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _sane(pair: tuple[Simulator, Simulator]) -> None:
    for upstream in pair:
        upstream.fresh()


def prompt(**fields: object) -> Json:
    """A request with a canary in it."""
    return chat(messages=[{"role": "user", "content": PROMPT}], **fields)


def spans_of(collector: Collector, trace: str, count: int) -> list[Span]:
    until(lambda: len(collector.of(trace)) >= count)
    return collector.of(trace)


def attributes(span: Span) -> dict[str, Any]:
    """As plain values."""
    told = {each.key: each.value for each in span.attributes}
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in told.items()
        if value.WhichOneof("value") != "array_value"
    }


# Logs


def test_each_request_is_one_line_that_tells_all_about_it(process: Gateway) -> None:
    answer = post(process, prompt(), **{"x-client-request-id": "mine-1"})
    record = process.record(answer.headers["x-request-id"])

    assert set(record) == FIELDS
    usage = answer.json()["usage"]
    assert {name: record[name] for name in sorted(FIELDS) if name in _EXPECTED} == _EXPECTED
    assert record["prompt_tokens"] == usage["prompt_tokens"]
    assert record["completion_tokens"] == usage["completion_tokens"]
    assert 0 < record["first_content_ms"] <= record["total_ms"] < 10_000
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", record["request_id"])
    [attempt] = record["attempts"]
    assert (attempt["target"], attempt["status"], attempt["error"]) == ("a/demo-model", 200, None)
    assert answer.headers["x-client-request-id"] == "mine-1"


_EXPECTED = {
    "level": "info",
    "client_request_id": "mine-1",
    "tenant": "acme",
    "operation": "chat",
    "model": "chat",
    "stream": False,
    "target": "a/demo-model",
    "status": 200,
    "outcome": "ok",
    "error": None,
    "usage_source": "measured",
    "finish_reasons": ["stop"],
}


def test_refusals_are_told_as_well(process: Gateway) -> None:
    bodies: list[tuple[Json, str, int, str]] = [
        (prompt(temperature=9), KEY, 400, "integer_above_max_value"),
        (prompt(model="none"), KEY, 404, "model_not_found"),
        (prompt(), UNKNOWN, 401, "invalid_api_key"),
    ]
    for body, secret, status, error in bodies:
        answer = post(process, body, **bearer(secret))
        record = process.record(answer.headers["x-request-id"])
        assert (answer.status_code, record["status"], record["outcome"]) == (
            status,
            status,
            "refused",
        )
        assert record["error"] == error
        assert record["model"] == (None if status != 400 else record["model"])


def test_what_others_must_not_read_is_printed_nowhere(
    process: Gateway, pair: tuple[Simulator, Simulator], collector: Collector
) -> None:
    private = {"x-canary": HEADER, "cookie": HEADER, "user-agent": HEADER, "x-request-id": "a b"}
    shown = []
    for rules in (
        [],
        [{"kind": "status", "status": 500, "body": json.dumps({"error": {"message": CREDENTIAL}})}],
        [{"kind": "status", "status": 401, "body": CREDENTIAL}],
        [{"kind": "status", "status": 404, "body": PROMPT}],
        [{"kind": "html"}],
        [{"kind": "garbage"}],
        [{"kind": "cut", "after": 4}],
        [{"kind": "redirect", "location": f"http://127.0.0.1:9/{HEADER}"}],
    ):
        for upstream in pair:
            upstream.faults(*rules)
        shown += [post(process, prompt(stream=each), **private) for each in (True, False)]
    wrong: tuple[Json, ...] = (
        {"model": PROMPT},
        {"temperature": PROMPT},
        {"messages": PROMPT},
        {"messages": [{"role": PROMPT, "content": PROMPT}]},
        {"stop": {PROMPT: PROMPT}},
    )
    shown += [post(process, prompt() | each, **private) for each in wrong]
    shown.append(post(process, prompt(), **private, **bearer(UNKNOWN)))
    shown.append(post(process, prompt(), **private, **bearer(CREDENTIAL)))
    raw = b'{"model": "chat", "messages": "' + PROMPT.encode()
    url = f"{process.url}/v1/chat/completions"
    shown.append(ask("POST", url, content=raw, headers=bearer()))
    shown.append(ask("GET", f"{process.url}/v1/models/{PROMPT}", headers=bearer()))
    shown.append(ask("GET", f"{process.url}/{PROMPT}", headers=bearer()))
    health = ask("GET", f"{process.url}/health/", headers=bearer(OPERATOR)).text
    metrics = ask("GET", f"{process.url}/metrics", headers=bearer(OPERATOR)).text
    process.record(shown[-4].headers["x-request-id"])

    told = {
        "output": process.output,
        "metrics": metrics,
        "health": health,
        "answers": "".join(f"{answer.headers}{answer.text}" for answer in shown),
        "spans": str(collector.spans),
    }
    found = [(place, each) for place, text in told.items() for each in CANARIES if each in text]
    assert found == []
    assert "Traceback" not in process.output


# Metrics


def test_metrics_count_what_happened(process: Gateway, pair: tuple[Simulator, Simulator]) -> None:
    before = Counter(process.metrics())
    pair[0].faults({"kind": "status", "status": 503, "times": 1})
    whole = post(process, prompt())
    post(process, prompt(stream=True))
    post(process, prompt(temperature=9))
    post(process, prompt(), **bearer(key(78)))
    post(process, prompt(), **bearer(key(78)))
    until(process.is_idle)
    after = process.metrics()
    rose = {name: value - before[name] for name, value in after.items() if value != before[name]}

    ok = '{model="chat",operation="chat",outcome="ok",status="200"}'
    assert rose[f"lockgate_requests_total{ok}"] == 3
    limited = '{model="chat",operation="chat",outcome="refused",status="429"}'
    assert rose[f"lockgate_requests_total{limited}"] == 1
    assert rose['lockgate_attempts_total{result="upstream_error",target="a/demo-model"}'] == 1
    assert rose['lockgate_attempts_total{result="ok",target="a/demo-model"}'] == 2
    assert rose['lockgate_attempts_total{result="ok",target="b/demo-model"}'] == 1
    usage = whole.json()["usage"]
    for direction, count in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        name = f'lockgate_tokens_total{{direction="{direction}",model="chat"}}'
        assert rose[name] == 3 * usage[count]
    assert rose['lockgate_time_to_first_token_seconds_count{model="chat"}'] == 1
    assert rose['lockgate_request_duration_seconds_count{model="chat",operation="chat"}'] >= 4
    assert rose['lockgate_limit_decisions_total{decision="admitted",measure="all"}'] == 3
    assert rose['lockgate_limit_decisions_total{decision="refused",measure="requests"}'] == 1
    assert after['lockgate_upstream_up{target="a/demo-model"}'] == 1
    assert after["lockgate_log_lines_dropped_total"] == 0


def test_names_that_a_client_makes_up_create_no_series(
    process: Gateway, pair: tuple[Simulator, Simulator]
) -> None:
    def names() -> set[str]:
        return set(process.metrics())

    post(process, prompt(model="made-up"))
    pair[0].faults({"kind": "status", "status": 418, "times": 1})
    post(process)
    post(process, chat(), authorization="Bearer nobody")
    ask("GET", f"{process.url}/made/up", headers=bearer())
    before = names()
    with httpx.Client(headers=bearer(), verify=False) as client:
        for number in range(50):
            for body in (chat(model=f"m-{number}"), chat(model="chat", user=f"u-{number}")):
                client.post(
                    f"{process.url}/v1/chat/completions",
                    json=body,
                    headers={"x-client-request-id": f"id-{number}", f"x-{number}": "1"},
                )
            client.get(f"{process.url}/v1/models/m-{number}")
            client.get(f"{process.url}/path-{number}")
            client.request(f"M{number}", f"{process.url}/v1/chat/completions")
        for status in range(418, 430):
            pair[0].faults({"kind": "status", "status": status, "times": 1})
            client.post(f"{process.url}/v1/chat/completions", json=chat())

    new = names() - before
    assert not [name for name in new if re.search(r"m-\d|u-\d|id-\d|path-|M\d", name)]
    assert len(new) < 40  # outcomes and statuses of the closed sets that had not come up yet


# Spans


def test_a_request_is_one_server_span_with_a_client_span_for_each_attempt(
    process: Gateway, pair: tuple[Simulator, Simulator], collector: Collector
) -> None:
    pair[0].faults({"kind": "status", "status": 503, "times": 1})
    answer = post(process, prompt())
    record = process.record(answer.headers["x-request-id"])

    server, first, second = sorted(
        spans_of(collector, record["trace_id"], 3), key=lambda span: span.start_time_unix_nano
    )
    assert server.kind == Span.SPAN_KIND_SERVER
    assert server.parent_span_id == b""
    assert first.kind == second.kind == Span.SPAN_KIND_CLIENT
    assert {first.parent_span_id, second.parent_span_id} == {server.span_id}
    told = attributes(server)
    assert told["lockgate.request_id"] == record["request_id"]
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "chat"
    assert told["gen_ai.usage.output_tokens"] == record["completion_tokens"]
    assert told["http.response.status_code"] == 200
    assert attributes(first)["error.type"] == "upstream_error"
    assert attributes(first)["lockgate.target"] == "a/demo-model"
    assert attributes(second)["lockgate.target"] == "b/demo-model"
    assert attributes(second)["gen_ai.provider.name"] == "vllm"
    assert collector.resources[0]["service.name"] == "lockgate"


def test_a_callers_trace_goes_on_through_the_gateway_to_the_upstream(
    process: Gateway, pair: tuple[Simulator, Simulator], collector: Collector
) -> None:
    pair[0].faults({"kind": "status", "status": 503, "times": 1})
    context = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=value"}
    post(process, prompt(), **context)

    spans = spans_of(collector, TRACE, 3)
    [server] = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    assert server.parent_span_id.hex() == PARENT
    attempts = {attributes(s)["lockgate.target"]: s for s in spans if s is not server}
    for upstream, target in zip(pair, ("a/demo-model", "b/demo-model"), strict=True):
        [seen] = upstream.requests()
        sent = seen["headers"]["traceparent"]
        assert sent == f"00-{TRACE}-{attempts[target].span_id.hex()}-01"
        assert seen["headers"]["tracestate"] == "vendor=value"


def test_a_caller_who_samples_nothing_is_not_traced(
    process: Gateway, pair: tuple[Simulator, Simulator], collector: Collector
) -> None:
    other = TRACE[::-1]
    post(process, prompt(), traceparent=f"00-{other}-{PARENT}-00")
    answer = post(process, prompt())
    trace = process.record(answer.headers["x-request-id"])["trace_id"]

    spans_of(collector, trace, 2)
    assert collector.of(other) == []
    assert pair[0].requests()[0]["headers"]["traceparent"].startswith(f"00-{other}-")
    assert pair[0].requests()[0]["headers"]["traceparent"].endswith("-00")


def test_without_tracing_a_callers_trace_goes_through_as_it_came(
    pair: tuple[Simulator, Simulator], tmp_path: Path
) -> None:
    config = settings({"a": pair[0].url})
    config["providers"]["a"]["api_key"] = CREDENTIAL
    with gateway(tmp_path, config) as process:
        post(process, prompt(), traceparent=f"00-{TRACE}-{PARENT}-01")
        post(process, prompt())

    with_trace, without = (seen["headers"] for seen in pair[0].requests())
    assert with_trace["traceparent"] == f"00-{TRACE}-{PARENT}-01"
    assert "traceparent" not in without


def test_an_upstream_is_told_nothing_of_its_caller(
    process: Gateway, pair: tuple[Simulator, Simulator]
) -> None:
    private = {"x-canary": HEADER, "cookie": HEADER, "openai-organization": HEADER}
    answer = post(process, prompt(), **private)

    [seen] = pair[0].requests()
    headers = seen["headers"]
    assert headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert headers["x-request-id"] == f"{answer.headers['x-request-id']}-1"
    assert not private.keys() & headers.keys()
    assert not [each for each in (KEY, HEADER) if each in json.dumps(seen)]
