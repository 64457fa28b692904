"""
Spans by OpenTelemetry: one for each request and one for each of its attempts.

Ids and the decision to sample are made when a request comes in, because they are sent on. The
spans themselves are built from the record when it has ended, and only if sampled. Imported only
where tracing is on (context.py), for the SDK takes its time to load.

What stays true: no request waits for the collector. Spans that find the queue full are dropped
and counted, a thread of the SDK's exports the others, and closing gives it two seconds.

The SDK reads its settings, the sampler's among them, from the `OTEL_*` variables itself.

Hot: `trace_of` and `finished` run once a request, `attempt` once an attempt, whatever is sampled.
"""

import os
import threading
from collections.abc import Sequence
from random import Random

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk import version as sdk
from opentelemetry.sdk.resources import (
    OTELResourceDetector,
    Resource,
    ServiceInstanceIdResourceDetector,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from ..contract.head import Head
from .context import Headers, caller_of, headers_of
from .record import AttemptRecord, Record, TraceContext
from .redaction import Redaction

Attributes = dict[str, str | int | float | bool | Sequence[str]]

FLUSH = 2.0
"""Seconds that closing waits for the last export."""

_GEN_AI_OPERATIONS = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"}
_DECIDING = 2**64 - 1
"""The bits of a trace's id by which it is sampled, or not."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


class CountedExporter(SpanExporter):
    """An exporter that counts what becomes of the spans it is given, in the SDK's thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export them, in the time that the exporter allows itself."""
        self.taken += len(spans)
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Give up what is being retried."""
        self._exporter.shutdown()


class Tracing:
    """Contexts with spans of the gateway's own, and the observer that builds them."""

    def __init__(self, *, version: str, redaction: Redaction, chance: Random) -> None:
        """`chance` makes the ids: they need no secrecy, only to be unlikely to come twice."""
        # Not registered anywhere: only its sampler and resource are of use here.
        settings = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._bound = _bound(settings.sampler, Context())
        """For traces that begin here; below a caller's span it depends on whether it is sampled."""
        self._bounds_below = [
            _bound(settings.sampler, _below(TraceContext(1, 1, sampled=sampled)))
            for sampled in (False, True)
        ]
        self._bits = chance.getrandbits
        self._capacity = _count(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", ""), 2048)
        batch = _count(os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", ""), 512)
        self._exporter = CountedExporter(OTLPSpanExporter())
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=self._capacity,
            max_export_batch_size=min(batch, self._capacity),
        )
        self._build = SpanBuilder(settings.resource, version, redaction)
        self._handed = 0
        self._dropped = 0

    def counts(self) -> dict[str, int]:
        """Spans `exported`, `failed` at the collector and `dropped` at a full queue so far."""
        return {
            "exported": self._exporter.exported,
            "failed": self._exporter.failed,
            "dropped": self._dropped,
        }

    def trace_of(self, head: Head) -> TraceContext:
        """A span for the request: below the caller's if it sent one, else at the root."""
        caller = caller_of(head)
        span_id = self._bits(64) or 1
        if caller is None:
            trace_id = self._bits(128) or 1
            return TraceContext(trace_id, span_id, None, trace_id & _DECIDING < self._bound)
        trace_id = caller.trace_id
        sampled = trace_id & _DECIDING < self._bounds_below[caller.sampled]
        return TraceContext(trace_id, span_id, caller.span_id, sampled, caller.state)

    def attempt(self, trace: TraceContext) -> tuple[int, Headers]:
        """A span below the request's."""
        span_id = self._bits(64) or 1
        return span_id, headers_of(trace, span_id)

    def began(self, operation: str) -> None:
        """Spans are built at the end."""

    def finished(self, record: Record) -> None:
        """Hand the spans of a sampled request to the exporting thread."""
        trace = record.trace
        if trace is None or not trace.sampled:
            return
        for span in self._build.spans(record, trace):
            # Counted here, because the SDK drops without telling.
            if self._handed - self._exporter.taken >= self._capacity:
                self._dropped += 1
            else:
                self._handed += 1
                self._processor.on_end(span)

    def close(self, timeout: float = FLUSH) -> None:
        """Export what is left, for `timeout` seconds at most. Blocks so long; call once."""
        # The SDK would wait for 30 s; a daemon thread can be left behind.
        flush = threading.Thread(target=self._processor.shutdown, name="span-flush", daemon=True)
        flush.start()
        flush.join(timeout)
        if flush.is_alive():
            self._exporter.shutdown()


class SpanBuilder:
    """Makes spans of records, with the attributes of the GenAI conventions."""

    def __init__(self, resource: Resource, version: str, redaction: Redaction) -> None:
        self._resource = resource
        self._scope = InstrumentationScope("lockgate", version)
        self._word = redaction.word

    def spans(self, record: Record, trace: TraceContext) -> list[ReadableSpan]:
        """The request's span and those of its attempts."""
        state = TraceState.from_header([trace.state]) if trace.state else TraceState()
        own = _context(trace.trace_id, trace.span_id, state)
        parent = None if trace.parent_id is None else _remote(trace, trace.parent_id)
        operation = _GEN_AI_OPERATIONS.get(record.operation, record.operation)
        base = int(record.at.timestamp() * 1e9) - int(record.started * 1e9)
        server = ReadableSpan(
            f"{operation} {record.model}".rstrip(),
            own,
            parent,
            self._resource,
            self._of_request(record, operation),
            kind=SpanKind.SERVER,
            status=_ERROR if record.outcome in {"failed", "cut"} else _UNSET,
            start_time=base + int(record.started * 1e9),
            end_time=base + int(record.ended * 1e9),
            instrumentation_scope=self._scope,
        )
        attempts = [
            ReadableSpan(
                f"{operation} {attempt.model}",
                _context(trace.trace_id, attempt.span_id, state),
                own,
                self._resource,
                self._of_attempt(record, attempt, operation),
                kind=SpanKind.CLIENT,
                status=_UNSET if attempt.error is None else _ERROR,
                start_time=base + int(attempt.started * 1e9),
                end_time=base + int(max(attempt.ended, attempt.started) * 1e9),
                instrumentation_scope=self._scope,
            )
            for attempt in record.attempts
        ]
        return [server, *attempts]

    def _of_request(self, record: Record, operation: str) -> Attributes:
        told: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.request.stream": record.stream,
            "http.request.method": "POST",
            "http.response.status_code": record.status,
            "lockgate.request_id": record.request_id,
            "lockgate.outcome": record.outcome,
            "lockgate.attempts": len(record.attempts),
        }
        optional = {
            "gen_ai.request.model": record.model,
            "lockgate.tenant": record.tenant,
            "lockgate.key": record.key,
            "lockgate.target": record.target,
            "lockgate.limited_by": record.limited_by,
            "lockgate.client_request_id": record.client_request_id,
        }
        told.update({name: value for name, value in optional.items() if value})
        if record.error is not None:
            told["error.type"] = self._word(record.error)
        self._add_answer(told, record, since=record.started)
        return told

    def _of_attempt(self, record: Record, attempt: AttemptRecord, operation: str) -> Attributes:
        told: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": attempt.kind,
            "gen_ai.request.model": attempt.model,
            "lockgate.provider": attempt.provider,
            "lockgate.target": attempt.target,
        }
        if attempt.status is not None:
            told["http.response.status_code"] = attempt.status
        for name, value in attempt.noted.items():
            told[f"http.response.header.{name}"] = [self._word(value)]
        if attempt.error is not None:
            told["error.type"] = self._word(attempt.error)
        elif attempt is record.attempts[-1]:
            # The upstream's own name for it is not kept: a dated alias shows as it was asked for.
            told["gen_ai.response.model"] = attempt.model
            self._add_answer(told, record, since=attempt.started)
        return told

    def _add_answer(self, told: Attributes, record: Record, *, since: float) -> None:
        if record.finish_reasons:
            told["gen_ai.response.finish_reasons"] = [*map(self._word, record.finish_reasons)]
        if record.first_content is not None:
            told["gen_ai.response.time_to_first_chunk"] = record.first_content - since
        counts = {
            "gen_ai.usage.input_tokens": record.prompt_tokens,
            "gen_ai.usage.output_tokens": record.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": record.cached_tokens,
        }
        told.update({name: count for name, count in counts.items() if count})


def _bound(sampler: Sampler, parent: Context) -> int:
    """
    What the deciding bits of a trace's id are below if it is sampled under that parent.

    Each of the SDK's samplers has such a bound. It is looked for once, because to ask the sampler
    about every request costs thirty times what it costs to compare.
    """
    low, high = 0, _DECIDING + 1
    while low < high:
        middle = (low + high) // 2
        asked = sampler.should_sample(parent, middle, "request", SpanKind.SERVER)
        if asked.decision is Decision.RECORD_AND_SAMPLE:
            low = middle + 1
        else:
            high = middle
    return low


def _below(caller: TraceContext) -> Context:
    return set_span_in_context(NonRecordingSpan(_remote(caller, caller.span_id)), Context())


def _context(trace_id: int, span_id: int, state: TraceState) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)


def _remote(trace: TraceContext, span_id: int) -> SpanContext:
    """The caller's span, by its id."""
    flags = TraceFlags(trace.sampled)
    state = TraceState.from_header([trace.state]) if trace.state else TraceState()
    return SpanContext(
        trace.trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state
    )


def _resource(version: str) -> Resource:
    """Who we are, unless the `OTEL_*` variables say otherwise."""
    told: dict[str, str] = {
        "service.name": "lockgate",
        "service.version": version,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk.__version__,
    }
    # `Resource.create` would ask its detectors in threads and wait for them.
    instance = ServiceInstanceIdResourceDetector().detect()
    return Resource(told).merge(instance).merge(OTELResourceDetector().detect())


def _count(told: str, default: int) -> int:
    return int(told) if told.isascii() and told.isdigit() and int(told) > 0 else default
