"""A record as the pipeline leaves it behind, for tests of what is made of records."""

from datetime import UTC, datetime
from typing import Any

from gateway.telemetry.record import AttemptRecord, Record, TraceContext

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TRACE = TraceContext(
    trace_id=0x0AF7651916CD43DD8448EB211C80319C,
    span_id=0xB7AD6B7169203331,
    parent_id=0x00F067AA0BA902B7,
    sampled=True,
    state="vendor=1",
)


def record(**changes: Any) -> Record:
    """A streamed chat that failed at one target and was answered by the next."""
    fields: dict[str, Any] = {
        "request_id": "01JNA0000000000000000000AA",
        "operation": "chat",
        "at": AT,
        "started": 100.0,
        "ended": 102.5,
        "client_request_id": "client-7",
        "tenant": "acme",
        "project": "search",
        "key": "0a1B2c3D4e5F",
        "model": "chat-small",
        "stream": True,
        "target": "vllm-b/demo-model",
        "status": 200,
        "outcome": "ok",
        "attempts": [
            AttemptRecord(
                "vllm-a/demo-model", "vllm-a", "vllm", "demo-model", 100.1, 100.2,
                status=503, error="upstream_error", span_id=0x11,
            ),
            AttemptRecord(
                "vllm-b/demo-model", "vllm-b", "vllm", "demo-model", 100.3, 102.5,
                status=200, span_id=0x22, noted={"x-inference-provider": "somewhere"},
            ),
        ],
        "admitted": True,
        "reserved_tokens": 500,
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "cached_tokens": 4,
        "cost": 19_500,
        "priced": True,
        "first_content": 100.8,
        "finish_reasons": ("stop",),
        "trace": TRACE,
    }  # fmt: skip
    return Record(**{**fields, **changes})
