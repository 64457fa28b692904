"""What is told ends up as one JSON object a line, whoever tells it."""

import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.log import LogPipe, RequestLog, configure_logging
from gateway.telemetry.redaction import Redaction
from gateway.telemetry.sink import LogSink
from tests.support.records import record

SECRET = "pepper-of-the-gateway"
KEY = "lg_0a1B2c3D4e5F_0123456789abcdefghijABCDEFGHIJ01xYz123"
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class Kept(LogSink):
    """A sink that keeps its lines."""

    lines: list[bytes] = field(default_factory=list)

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    @property
    def told(self) -> list[dict[str, Any]]:
        assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in self.lines)
        return [orjson.loads(line) for line in self.lines]


@pytest.fixture
def kept() -> Kept:
    return Kept()


def pipe_to(kept: Kept, **settings: Any) -> LogPipe:
    return LogPipe(kept, Redaction([SECRET]), now=lambda: NOW, **settings)


@pytest.fixture
def configured(kept: Kept) -> Iterator[LogPipe]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    pipe = pipe_to(kept)
    configure_logging(pipe)
    yield pipe
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def test_a_request_is_one_line_that_tells_all_of_it(kept: Kept) -> None:
    log = RequestLog(pipe_to(kept))
    log.began("chat")
    log.finished(record())
    assert kept.told == [
        {
            "timestamp": "2026-03-01T12:00:02.500000Z",
            "level": "info",
            "event": "request",
            "request_id": "01JNA0000000000000000000AA",
            "client_request_id": "client-7",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "tenant": "acme",
            "project": "search",
            "key": "0a1B2c3D4e5F",
            "operation": "chat",
            "model": "chat-small",
            "stream": True,
            "target": "vllm-b/demo-model",
            "status": 200,
            "outcome": "ok",
            "error": None,
            "limited_by": None,
            "finish_reasons": ["stop"],
            "attempts": [
                {
                    "target": "vllm-a/demo-model",
                    "status": 503,
                    "error": "upstream_error",
                    "ms": 100.0,
                },
                {
                    "target": "vllm-b/demo-model",
                    "status": 200,
                    "error": None,
                    "ms": 2200.0,
                    "noted": {"x-inference-provider": "somewhere"},
                },
            ],
            "prompt_tokens": 12,
            "completion_tokens": 30,
            "cached_tokens": 4,
            "cost_nano_usd": 19500,
            "usage_source": "measured",
            "first_content_ms": 800.0,
            "total_ms": 2500.0,
        }
    ]


def test_a_request_that_came_to_nothing_has_nulls(kept: Kept) -> None:
    empty = record(
        tenant="", key="", model="", target="", attempts=[], first_content=None, trace=None,
        client_request_id="", status=401, outcome="refused", error="invalid_api_key",
    )  # fmt: skip
    RequestLog(pipe_to(kept)).finished(empty)
    [line] = kept.told
    for name in ("tenant", "key", "model", "target", "first_content_ms", "trace_id"):
        assert line[name] is None
    assert line["error"] == "invalid_api_key"


@given(st.text(st.characters(codec=None)))
def test_the_words_of_an_upstream_cannot_break_a_line(words: str) -> None:
    kept = Kept()
    strange = record(error=words + SECRET, finish_reasons=(words, KEY))
    strange.attempts[1].noted["x-inference-provider"] = words + KEY
    RequestLog(pipe_to(kept)).finished(strange)
    assert len(kept.told) == 1
    assert SECRET.encode() not in kept.lines[0]
    assert KEY.encode() not in kept.lines[0]


def test_requests_are_not_told_above_their_level(kept: Kept) -> None:
    RequestLog(pipe_to(kept, level="warning")).finished(record())
    assert kept.lines == []


@pytest.mark.usefixtures("configured")
def test_structlog_and_the_standard_library_use_the_same_pipe(kept: Kept) -> None:
    structlog.get_logger("gateway.app").warning("started", port=8080, secret=SECRET)
    logging.getLogger("uvicorn.error").warning("on %s with %s", "port", KEY)
    structlog.get_logger().debug("hidden")
    logging.getLogger("gateway").debug("hidden")
    logging.getLogger("uvicorn.access").info("hidden")
    assert kept.told == [
        {
            "timestamp": "2026-03-01T12:00:00.123456Z",
            "level": "warning",
            "event": "started",
            "logger": "gateway.app",
            "port": 8080,
            "secret": "[redacted]",
        },
        {
            "timestamp": "2026-03-01T12:00:00.123456Z",
            "level": "warning",
            "event": "on port with [redacted]",
            "logger": "uvicorn.error",
        },
    ]


@pytest.mark.usefixtures("configured")
def test_a_driver_does_not_tell_what_it_writes_into_the_database(kept: Kept) -> None:
    configure_logging(pipe_to(kept, level="debug"))

    logging.getLogger("aiosqlite").debug("executing %s", "SET password_hash = '$argon2id$v=19$'")
    logging.getLogger("aiosqlite").warning("lost")

    assert [line["event"] for line in kept.told] == ["lost"]


@pytest.mark.usefixtures("configured")
def test_an_exception_is_told_in_full_but_for_its_secrets(kept: Kept) -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError(f"{SECRET}\n\x1b[31m{'x' * 5000}")
        deep(levels - 1)

    try:
        deep(100)
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("x").exception("failed")
    for line in kept.told:
        assert line["level"] == "error"
        assert line["exception"][-2] == "ValueError: [redacted]"
        assert len(line["exception"]) <= 64
        assert all(len(each) <= 1024 for each in line["exception"])
    assert len(kept.told) == 2
    assert b"\x1b" not in b"".join(kept.lines)


@pytest.mark.usefixtures("configured")
def test_a_message_that_does_not_fit_its_arguments_is_told_as_it_is(kept: Kept) -> None:
    mistaken = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d of %d", ("one",), None)
    logging.getLogger().handlers[0].handle(mistaken)
    assert kept.told[0]["event"] == "%d of %d"


@pytest.mark.usefixtures("configured")
def test_warnings_are_lines_as_well(kept: Kept) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "old" in kept.told[0]["event"]


@pytest.mark.usefixtures("configured")
def test_what_is_bound_to_the_context_is_told_with_every_line(kept: Kept) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("one")
    structlog.get_logger().info("two")
    assert [line.get("request_id") for line in kept.told] == ["r1", None]


@given(st.dictionaries(st.text(min_size=1), st.text(st.characters(codec=None)) | st.floats()))
def test_every_line_parses_whatever_its_fields_hold(fields: dict[str, Any]) -> None:
    kept = Kept()
    pipe_to(kept).tell("info", {"event": "x", **fields})
    assert len(kept.told) == 1


@given(st.text(st.characters(codec=None)))
def test_a_console_line_is_one_line_without_control_characters(text: str) -> None:
    kept = Kept()
    pipe_to(kept, style="console").tell("info", {"event": text, "field": text + "\x1b[2J\r\n"})
    [line] = kept.lines
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    assert b"\r" not in line


def test_the_console_shows_requests_and_tracebacks(kept: Kept) -> None:
    pipe = pipe_to(kept, style="console")
    RequestLog(pipe).finished(record())
    assert b"chat-small" in kept.lines[0]
    pipe.tell("error", {"event": "failed"}, ValueError("no good"))
    assert b"failed" in kept.lines[1]
    assert kept.lines[1].endswith(b"ValueError: no good\n")


def test_lines_reach_the_file_descriptor() -> None:
    read, write = os.pipe()
    with LogSink(write) as sink:
        RequestLog(LogPipe(sink, Redaction())).finished(record())
    assert orjson.loads(os.read(read, 65536))["event"] == "request"
    os.close(read)
    os.close(write)
