"""Rows as a ledger has them, for tests of what becomes of rows."""

from datetime import UTC, datetime
from typing import Any

from gateway.store.ledger_rows import AttemptRow, Row

AT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def row(**changes: Any) -> Row:
    """A chat that failed at one target and was answered by the next."""
    fields: dict[str, Any] = {
        "request_id": "01JNA0000000000000000000AA",
        "at": AT,
        "tenant": "acme",
        "key": "0a1B2c3D4e5F",
        "operation": "chat",
        "model": "chat-small",
        "target": "vllm-b/demo-model",
        "stream": True,
        "status": 200,
        "outcome": "ok",
        "usage_source": "measured",
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "cost": 1_000,
        "priced": True,
        "duration_ms": 2500,
        "attempts": (
            AttemptRow("vllm-a/demo-model", "vllm-a", "demo-model", 503, "upstream_error", 100),
            AttemptRow("vllm-b/demo-model", "vllm-b", "demo-model", 200, None, 2400, 900),
        ),
    }
    return Row(**{**fields, **changes})


def provisional(**changes: Any) -> Row:
    """The same, of a gateway that died."""
    fields: dict[str, Any] = {
        "status": 0, "outcome": "failed", "error": "gateway_lost", "usage_source": "counted",
        "target": "", "prompt_tokens": 12, "completion_tokens": 7, "cost": 300,
        "duration_ms": 0, "provisional": True, "attempts": (),
    }  # fmt: skip
    return row(**{**fields, **changes})


def request_id(number: int) -> str:
    """The ids of many rows, in order."""
    return f"{number:026}"
