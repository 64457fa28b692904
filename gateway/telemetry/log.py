"""
Log lines: one JSON object each, for a request or for whatever else is worth telling.

Everything goes through one pipe, the standard library's loggers included, and every field that
is not the gateway's own is cleaned on the way (redaction.py). Writing never waits (sink.py).

Hot: `RequestLog.finished` runs once a request.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import orjson
import structlog

from .record import AttemptRecord, Record
from .redaction import Redaction
from .sink import LogSink

Level = Literal["debug", "info", "warning", "error"]
Style = Literal["json", "console"]
Event = dict[str, Any]

MAX_LINES = 64
"""Lines of a traceback, the last ones."""

_MICROS = 1_000_000
"""In a second. Times are rounded to whole ones: three digits of a millisecond cost more to get."""
_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_NOISY = ("uvicorn.access", "httpx", "httpcore", "urllib3", "asyncio", "aiosqlite")
"""
Loggers that tell of every request, where the gateway's own line says more; or of every statement
with its values, where there are hashes among them.
"""
_LINE: Event = {
    "timestamp": None,
    "level": "info",
    "event": "request",
    "request_id": None,
    "client_request_id": None,
    "trace_id": None,
    "tenant": None,
    "project": None,
    "key": None,
    "operation": None,
    "model": None,
    "stream": None,
    "target": None,
    "status": None,
    "outcome": None,
    "error": None,
    "limited_by": None,
    "finish_reasons": None,
    "attempts": None,
    "prompt_tokens": None,
    "completion_tokens": None,
    "cached_tokens": None,
    "cost_nano_usd": None,
    "usage_source": None,
    "first_content_ms": None,
    "total_ms": None,
}
"""A request's line: a copy is filled in, which takes half as long as to make a dict so large."""
_LEVELS = {"exception": "error", "warn": "warning", "fatal": "critical"}
_CONTROLS = {code: f"\\x{code:02x}" for code in range(0x20)}


def _now() -> datetime:
    return datetime.now(UTC)


class LogPipe:
    """Turns events into lines of one style and gives them to the sink."""

    def __init__(
        self,
        sink: LogSink,
        redaction: Redaction,
        *,
        style: Style = "json",
        level: Level = "info",
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.redaction = redaction
        self.level = logging.getLevelNamesMapping()[level.upper()]
        self._sink = sink
        self._now = now
        self._console = structlog.dev.ConsoleRenderer(colors=False) if style == "console" else None

    def tell(self, level: str, event: Mapping[str, Any], exc_info: object = None) -> None:
        """Write a line of foreign fields, cleaned."""
        line: Event = {"timestamp": self._now(), "level": level}
        line.update(self.redaction.field(event))
        error = _exception_of(exc_info)
        if error is not None:
            lines = "".join(traceback.format_exception(error)).splitlines()
            line["exception"] = [self.redaction.text(text) for text in lines[-MAX_LINES:]]
        self.write(line)

    def write(self, line: Event) -> None:
        """Write a line whose fields are clean and bounded already."""
        if self._console is None:
            self._sink.write(orjson.dumps(line, option=_JSON))
        else:
            self._sink.write(self._rendered(self._console, line))

    def _rendered(self, console: structlog.dev.ConsoleRenderer, line: Event) -> bytes:
        told = "\n".join(line.pop("exception", ()))
        shown = {
            key: value.translate(_CONTROLS) if isinstance(value, str) else value
            for key, value in line.items()
        }
        shown["timestamp"] = line["timestamp"].isoformat(timespec="milliseconds")
        if told:
            shown["exception"] = told
        return f"{console(None, '', shown)}\n".encode()


class RequestLog:
    """An observer: one line a request, and never a prompt, a key or a credential."""

    def __init__(self, pipe: LogPipe) -> None:
        self._pipe = pipe
        self._word = pipe.redaction.word
        self._is_on = pipe.level <= logging.INFO

    def began(self, operation: str) -> None:
        """Nothing is told before the end."""

    def finished(self, record: Record) -> None:
        """Tell of the request. The fields are the gateway's own, but for the upstreams' words."""
        if not self._is_on:
            return
        word = self._word
        trace, error = record.trace, record.error
        started, first = record.started, record.first_content
        taken = record.ended - started
        line = _LINE.copy()
        line["timestamp"] = record.at + timedelta(0, taken)
        line["request_id"] = record.request_id
        line["client_request_id"] = record.client_request_id or None
        if trace is not None:
            line["trace_id"] = f"{trace.trace_id:032x}"
        line["tenant"] = record.tenant or None
        line["project"] = record.project or None
        line["key"] = record.key or None
        line["operation"] = record.operation
        line["model"] = record.model or None
        line["stream"] = record.stream
        line["target"] = record.target or None
        line["status"] = record.status
        line["outcome"] = record.outcome
        if error is not None:
            line["error"] = word(error)
        line["limited_by"] = record.limited_by
        line["finish_reasons"] = [*map(word, record.finish_reasons)]
        line["attempts"] = [*map(self._attempt, record.attempts)]
        line["prompt_tokens"] = record.prompt_tokens
        line["completion_tokens"] = record.completion_tokens
        line["cached_tokens"] = record.cached_tokens
        if record.priced:
            line["cost_nano_usd"] = record.cost
        line["usage_source"] = record.usage_source
        if first is not None:
            line["first_content_ms"] = round((first - started) * _MICROS) / 1000
        line["total_ms"] = round(taken * _MICROS) / 1000
        self._pipe.write(line)

    def _attempt(self, attempt: AttemptRecord) -> Event:
        told: Event = {
            "target": attempt.target,
            "status": attempt.status,
            "error": None if attempt.error is None else self._word(attempt.error),
            "ms": round((attempt.ended - attempt.started) * _MICROS) / 1000,
        }
        if attempt.served_model:
            told["served_model"] = self._word(attempt.served_model)
        if attempt.noted:
            told["noted"] = {name: self._word(value) for name, value in attempt.noted.items()}
        return told


class _StandardHandler(logging.Handler):
    """Takes what the standard library's loggers are told."""

    def __init__(self, pipe: LogPipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit their format
            message = str(record.msg)
        event = {"event": message, "logger": record.name}
        self._pipe.tell(record.levelname.lower(), event, record.exc_info)


def configure_logging(pipe: LogPipe) -> None:
    """
    Send whatever structlog and the standard library are told into `pipe`, from its level up.

    May be called again. uvicorn must be started with `log_config=None`, or it takes its own back.
    """
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, partial(_hand_over, pipe)],
        wrapper_class=structlog.make_filtering_bound_logger(pipe.level),
        logger_factory=_named,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_StandardHandler(pipe)]
    root.setLevel(pipe.level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(pipe.level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _named(name: str = "") -> str:
    """A logger is its name; the pipe is the same for all."""
    return name


def _hand_over(pipe: LogPipe, name: Any, method: str, event: Event) -> Event:
    exc_info = event.pop("exc_info", None) or (method == "exception")
    if name:
        event.setdefault("logger", name)
    pipe.tell(_LEVELS.get(method, method), event, exc_info)
    raise structlog.DropEvent  # it has been written


def _exception_of(exc_info: object) -> BaseException | None:
    """What `exc_info` stands for in any of the forms that loggers take."""
    match exc_info:
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None
