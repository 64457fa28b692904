"""W3C Trace Context, to the letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.head import head_of
from gateway.telemetry.context import PassedOn, caller_of, headers_of, is_wanted
from gateway.telemetry.record import TraceContext

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def read(parent: bytes, *states: bytes) -> TraceContext | None:
    headers = [(b"host", b"x"), (b"traceparent", parent)]
    return caller_of(head_of([*headers, *[(b"tracestate", state) for state in states]]))


def test_a_callers_context_is_read() -> None:
    assert read(PARENT, b"a=1, b@c=2") == TraceContext(
        TRACE_ID, SPAN_ID, parent_id=SPAN_ID, sampled=True, state="a=1,b@c=2"
    )
    unsampled = read(PARENT[:-2] + b"00")
    assert unsampled is not None
    assert not unsampled.sampled
    later = read(b"cc" + PARENT[2:] + b"-what-the-future-brings")
    assert later is not None
    assert later.trace_id == TRACE_ID


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"garbage",
        PARENT + b"-x",
        PARENT + b"\n",
        b" " + PARENT,
        PARENT.upper(),
        b"ff" + PARENT[2:],
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + b"-01",
        PARENT[:-1],
        PARENT.replace(b"-", b"_"),
        b"cc" + PARENT[2:] + b"-" + b"x" * 300,
        b"cc" + PARENT[2:] + b"x",
    ],
)
def test_a_malformed_parent_counts_as_none(parent: bytes) -> None:
    assert read(parent, b"a=1") is None


def test_no_parent_or_two_count_as_none() -> None:
    assert caller_of({}) is None
    assert caller_of(head_of([(b"tracestate", b"a=1")])) is None
    assert caller_of(head_of([(b"traceparent", PARENT)] * 2)) is None


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ([b"a=1"], "a=1"),
        ([b"a=1", b"b=2"], "a=1,b=2"),
        ([b" a=1 ,\t, b=2,"], "a=1,b=2"),
        ([b"a=1,a=2"], ""),
        ([b"A=1"], ""),
        ([b"a"], ""),
        ([b"a=1\r\nx: y"], ""),
        ([b"a=\xe9"], ""),
        ([b"a=" + b"x" * 257], ""),
        ([b",".join(b"k%d=1" % n for n in range(33))], ""),
        ([b",".join(b"k%d=1" % n for n in range(32))], ",".join(f"k{n}=1" for n in range(32))),
        ([b"a=" + b"x" * 255, b"b=" + b"x" * 255], ""),
    ],
)
def test_a_state_is_carried_on_whole_or_not_at_all(states: list[bytes], kept: str) -> None:
    found = read(PARENT, *states)
    assert found is not None
    assert found.state == kept


@given(st.binary(max_size=600) | st.just(PARENT), st.lists(st.binary(max_size=600), max_size=3))
def test_what_is_sent_on_is_always_well_formed(parent: bytes, states: list[bytes]) -> None:
    found = read(parent, *states)
    if found is not None:
        for _, value in headers_of(found, 7):
            assert value.isascii()
            assert b"\n" not in value
            assert b"\r" not in value
        again = caller_of(head_of(headers_of(found, 7)))
        assert again is not None
        assert (again.trace_id, again.span_id, again.state) == (found.trace_id, 7, found.state)


def test_without_tracing_the_gateway_is_a_wire() -> None:
    contexts = PassedOn()
    trace = contexts.trace_of(head_of([(b"traceparent", PARENT), (b"tracestate", b"a=1")]))
    assert trace is not None
    assert contexts.attempt(trace) == (0, ((b"traceparent", PARENT), (b"tracestate", b"a=1")))
    assert contexts.trace_of(head_of([(b"host", b"x")])) is None


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_tracing_is_on_when_the_standard_variables_ask_for_it(
    environ: dict[str, str], wanted: bool
) -> None:
    assert is_wanted(environ) is wanted
