"""
Which trace a request belongs to, in the words of W3C Trace Context (www.w3.org/TR/trace-context).

A header that breaks a rule counts as none: it is never repaired, and never sent on. Without
tracing a caller's context reaches the upstream as it came, as if the gateway were a wire; with
tracing (spans.py) the gateway's own spans stand in between.

Hot: `trace_of` runs once a request, `attempt` once an attempt.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from ..contract.head import Head
from .record import TraceContext

Headers = tuple[tuple[bytes, bytes], ...]

MAX_STATE = 512
"""Characters of a tracestate that are carried on; a longer one is dropped whole."""
MAX_MEMBERS = 32

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MAX_PARENT = 256
_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Contexts(Protocol):
    """Where a request and its attempts get their trace ids."""

    def trace_of(self, head: Head) -> TraceContext | None:
        """The trace of a request with those headers; None without one."""
        ...

    def attempt(self, trace: TraceContext) -> tuple[int, Headers]:
        """The span id of a new attempt, 0 without a span, and the headers that it is sent with."""
        ...


class PassedOn:
    """Contexts without tracing: what came in goes out."""

    def trace_of(self, head: Head) -> TraceContext | None:
        """The caller's own context, whose span stands for the gateway's."""
        return caller_of(head)

    def attempt(self, trace: TraceContext) -> tuple[int, Headers]:
        """The caller's headers, and no span."""
        return 0, headers_of(trace, trace.span_id)


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the standard `OTEL_*` variables ask for spans to be exported."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(environ.get(name, "").strip() for name in _ENDPOINTS)


def caller_of(head: Head) -> TraceContext | None:
    """The context that a caller sent, with the caller's span; None if it sent no valid one."""
    parents = head.get(b"traceparent")
    if parents is None or len(parents) > 1 or (ids := _ids_of(parents[0])) is None:
        return None
    trace_id, span_id, sampled = ids
    states = head.get(b"tracestate")
    state = "" if states is None else _state_of(b",".join(states))
    return TraceContext(trace_id, span_id, span_id, sampled, state)


def headers_of(trace: TraceContext, span_id: int) -> Headers:
    """The headers that make `span_id` the parent of whatever the receiver does."""
    parent = (b"traceparent", b"00-%032x-%016x-%02x" % (trace.trace_id, span_id, trace.sampled))
    if not trace.state:
        return (parent,)
    return (parent, (b"tracestate", trace.state.encode("ascii")))


def _ids_of(parent: bytes) -> tuple[int, int, bool] | None:
    found = _PARENT.fullmatch(parent) if len(parent) <= _MAX_PARENT else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    trace, span = int(trace_id, 16), int(span_id, 16)
    return (trace, span, bool(int(flags, 16) & 1)) if trace and span else None


def _state_of(value: bytes) -> str:
    """The list without its blanks, or nothing if any member of it is malformed or comes twice."""
    if len(value) > MAX_STATE or not value.isascii():
        return ""
    members = [member for each in value.decode("ascii").split(",") if (member := each.strip(" \t"))]
    if len(members) > MAX_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return ""
    keys = {member.partition("=")[0] for member in members}
    return ",".join(members) if len(keys) == len(members) else ""
