"""Spans as a collector sees them: a real one, that speaks OTLP over HTTP and decodes it."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from gateway.contract.head import head_of
from gateway.telemetry.context import caller_of, headers_of
from gateway.telemetry.record import TraceContext
from gateway.telemetry.redaction import Redaction
from gateway.telemetry.spans import Tracing
from tests.support.records import AT, TRACE, record

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + b"00"
SERVER, FAILED, ANSWERED = "b7ad6b7169203331", "0000000000000011", "0000000000000022"
SECRET = "pepper-of-the-gateway"
TAKEN = Decision.RECORD_AND_SAMPLE
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
BROKEN = OK.replace(b"200 OK", b"500 No")


@dataclass
class Collector:
    """Keeps what it was sent."""

    answer: bytes | None = OK
    port: int = 0
    asked: int = 0
    spans: list[Span] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            body = await reader.readexactly(length)
            assert head.startswith("POST /v1/traces ")
            self.asked += 1
            if self.answer is None:
                await reader.read()  # never answers
            else:
                self.keep(ExportTraceServiceRequest.FromString(body))
                writer.write(self.answer)
                await writer.drain()
        finally:
            writer.close()

    def keep(self, sent: ExportTraceServiceRequest) -> None:
        for resource in sent.resource_spans:
            self.resource = attributes(resource.resource)
            for scope in resource.scope_spans:
                assert scope.scope.name == "lockgate"
                self.spans.extend(scope.spans)


def attributes(of: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [plain(each) for each in value.array_value.values]
        return getattr(value, kind)

    return {each.key: plain(each.value) for each in of.attributes}


@asynccontextmanager
async def collecting(answer: bytes | None = OK) -> AsyncIterator[Collector]:
    collector = Collector(answer)
    server = await asyncio.start_server(collector, "127.0.0.1", 0)
    collector.port = server.sockets[0].getsockname()[1]
    try:
        yield collector
    finally:
        server.close()


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tracing]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def make(port: int, **variables: str) -> Tracing:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        for name, told in variables.items():
            monkeypatch.setenv(name, told)
        return Tracing(version="1.2.3", redaction=Redaction([SECRET]), chance=random.Random(7))

    return make


async def closed(tracing: Tracing) -> float:
    """Close off the loop, as the application does; the seconds that it took."""
    started = time.monotonic()
    await asyncio.to_thread(tracing.close)
    return time.monotonic() - started


async def seen(collector: Collector, tracing: Tracing) -> dict[str, Span]:
    await closed(tracing)
    return {span.span_id.hex(): span for span in collector.spans}


Make = Callable[..., Tracing]


async def test_a_request_is_a_server_span_with_a_client_span_for_each_attempt(
    tracing: Make,
) -> None:
    async with collecting() as collector:
        spans = tracing(collector.port)
        spans.began("chat")
        spans.finished(record())
        found = await seen(collector, spans)
    assert found.keys() == {SERVER, FAILED, ANSWERED}
    server, failed, answered = (found[key] for key in (SERVER, FAILED, ANSWERED))
    assert {span.trace_id.hex() for span in found.values()} == {f"{TRACE.trace_id:032x}"}
    assert {span.trace_state for span in found.values()} == {"vendor=1"}
    assert server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert server.kind == Span.SPAN_KIND_SERVER
    assert server.name == "chat chat-small"
    for attempt in (failed, answered):
        assert attempt.parent_span_id == server.span_id
        assert attempt.kind == Span.SPAN_KIND_CLIENT
        assert attempt.name == "chat demo-model"
    start = int(AT.timestamp() * 1e9)
    assert server.start_time_unix_nano == pytest.approx(start, abs=1000)
    assert server.end_time_unix_nano - server.start_time_unix_nano == 2_500_000_000
    assert answered.start_time_unix_nano - server.start_time_unix_nano == pytest.approx(3e8, abs=99)
    assert collector.resource["service.name"] == "lockgate"
    assert collector.resource["service.version"] == "1.2.3"
    assert spans.counts() == {"exported": 3, "failed": 0, "dropped": 0}


async def test_spans_speak_the_words_of_the_genai_conventions(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(collector.port)
        spans.finished(record())
        found = await seen(collector, spans)
    server = attributes(found[SERVER])
    answer = {
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert server == {
        **answer,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "chat-small",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.8),
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "lockgate.request_id": "01JNA0000000000000000000AA",
        "lockgate.client_request_id": "client-7",
        "lockgate.tenant": "acme",
        "lockgate.key": "0a1B2c3D4e5F",
        "lockgate.target": "vllm-b/demo-model",
        "lockgate.outcome": "ok",
        "lockgate.attempts": 2,
    }
    assert attributes(found[FAILED]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "demo-model",
        "http.response.status_code": 503,
        "error.type": "upstream_error",
        "lockgate.provider": "vllm-a",
        "lockgate.target": "vllm-a/demo-model",
    }
    assert found[FAILED].status.code == 2
    assert attributes(found[ANSWERED]) == {
        **answer,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "demo-model",
        "gen_ai.response.model": "demo-model",
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.5),
        "http.response.status_code": 200,
        "http.response.header.x-inference-provider": ["somewhere"],
        "lockgate.provider": "vllm-b",
        "lockgate.target": "vllm-b/demo-model",
    }


async def test_no_secret_reaches_the_collector(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(collector.port)
        leaking = record(error=f"x {SECRET}", finish_reasons=(f"Bearer {SECRET}",))
        leaking.attempts[0].error = f"{SECRET} y"
        leaking.attempts[1].noted["x-inference-provider"] = SECRET
        spans.finished(leaking)
        await closed(spans)
    assert len(collector.spans) == 3
    assert not any(SECRET in str(span) for span in collector.spans)


async def test_a_failed_request_is_an_error_and_a_refused_one_is_not(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(collector.port)
        for outcome in ("failed", "cut", "refused", "hung_up"):
            spans.finished(record(outcome=outcome, attempts=[], model="", error="x"))
        await closed(spans)
    assert sorted(span.status.code for span in collector.spans) == [0, 0, 2, 2]
    assert {span.name for span in collector.spans} == {"chat"}


async def test_the_gateways_span_stands_between_caller_and_upstream(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(collector.port)
        trace = spans.trace_of(head_of([(b"traceparent", PARENT), (b"tracestate", b"a=1")]))
        caller = caller_of(head_of([(b"traceparent", PARENT)]))
        assert caller is not None
        assert (trace.trace_id, trace.parent_id) == (caller.trace_id, caller.span_id)
        assert trace.span_id not in {0, caller.span_id}
        span_id, headers = spans.attempt(trace)
        upstream = caller_of(head_of(headers))
        assert upstream is not None
        assert (upstream.trace_id, upstream.span_id) == (caller.trace_id, span_id)
        assert upstream.sampled
        assert upstream.state == "a=1"
        other, _ = spans.attempt(trace)
        assert other != span_id
        await closed(spans)


@pytest.mark.parametrize(
    ("sampler", "headers", "sampled"),
    [
        ("", [], True),
        ("", [(b"traceparent", PARENT)], True),
        ("", [(b"traceparent", UNSAMPLED)], False),
        ("always_off", [(b"traceparent", PARENT)], False),
        ("parentbased_always_off", [], False),
        ("parentbased_always_off", [(b"traceparent", PARENT)], True),
        ("always_on", [(b"traceparent", UNSAMPLED)], True),
    ],
)
async def test_the_sampler_is_the_one_that_the_environment_names(
    tracing: Make, sampler: str, headers: list[tuple[bytes, bytes]], sampled: bool
) -> None:
    async with collecting() as collector:
        variables = {"OTEL_TRACES_SAMPLER": sampler} if sampler else {}
        spans = tracing(collector.port, **variables)
        trace = spans.trace_of(head_of(headers))
        assert trace.sampled is sampled
        spans.finished(record(trace=trace))
        await closed(spans)
    assert bool(collector.spans) is sampled


@pytest.mark.parametrize("rate", ["0", "0.01", "0.5", "1"])
@pytest.mark.parametrize(
    "sampler",
    [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ],
)
async def test_whatever_the_sampler_each_trace_is_sampled_as_it_would_say(
    tracing: Make, sampler: str, rate: str
) -> None:
    spans = tracing(9, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=rate)
    asked = TracerProvider(shutdown_on_exit=False).sampler
    chance = random.Random(3)
    drawn = [chance.getrandbits(64) for _ in range(50)]
    edges = [round(float(rate) * 2**64) + near for near in (-1, 0, 1)]
    for low in (1, *edges, *drawn):
        trace_id = (1 << 100) + low
        for flags in (0, 1):
            parent = SpanContext(trace_id, 5, is_remote=True, trace_flags=TraceFlags(flags))
            below = set_span_in_context(NonRecordingSpan(parent), Context())
            sampled = asked.should_sample(below, trace_id, "x").decision is TAKEN
            sent = headers_of(TraceContext(trace_id, 5, sampled=bool(flags)), 5)
            assert spans.trace_of(head_of(sent)).sampled is sampled
    for _ in range(50):
        begun = spans.trace_of({})
        sampled = asked.should_sample(Context(), begun.trace_id, "x").decision is TAKEN
        assert (begun.sampled, begun.parent_id) == (sampled, None)
    await closed(spans)


async def test_a_tenth_is_a_tenth(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(
            collector.port, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.1"
        )
        sampled = sum(spans.trace_of({}).sampled for _ in range(2000))
        await closed(spans)
    assert 100 < sampled < 300


async def test_the_environment_names_the_service(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(
            collector.port,
            OTEL_SERVICE_NAME="edge",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        spans.finished(record())
        await closed(spans)
    assert collector.resource["service.name"] == "edge"
    assert collector.resource["deployment.environment.name"] == "test"


async def overfill(spans: Tracing) -> None:
    started = time.monotonic()
    for _ in range(1000):
        spans.finished(record())
    assert time.monotonic() - started < 2


@pytest.fixture(params=["hangs", "answers 500", "refuses"])
async def bad_port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a collector that takes nothing."""
    answer = {"hangs": None, "answers 500": BROKEN, "refuses": OK}[request.param]
    async with collecting(answer) as collector:
        port = collector.port
        if request.param != "refuses":
            yield port
            return
    yield port


async def test_a_bad_collector_costs_spans_that_are_counted_and_no_time(
    tracing: Make, bad_port: int
) -> None:
    variables = {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    spans = tracing(bad_port, **variables)
    for _ in range(3):
        await overfill(spans)
        await asyncio.sleep(0)
    assert await closed(spans) < 2.5
    counts = spans.counts()
    assert counts["exported"] == 0
    assert counts["dropped"] > 5000
    assert counts["dropped"] + counts["failed"] <= 9000


async def test_every_span_is_exported_failed_or_dropped(tracing: Make) -> None:
    async with collecting() as collector:
        spans = tracing(collector.port, OTEL_BSP_MAX_QUEUE_SIZE="64")
        for _ in range(20):
            for _ in range(10):
                spans.finished(record())
            await asyncio.sleep(0.005)
        await closed(spans)
    counts = spans.counts()
    assert counts["failed"] == 0
    assert counts["exported"] == len(collector.spans)
    assert counts["exported"] + counts["dropped"] == 600


async def run(program: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    return (await process.communicate())[0].decode()


async def test_without_tracing_the_sdk_is_not_even_loaded() -> None:
    told = await run(
        "import sys, gateway.telemetry.context, gateway.telemetry.log, gateway.telemetry.metrics;"
        "print([name for name in sys.modules if 'opentelemetry' in name or name == 'requests'])"
    )
    assert told.strip() == "[]"
