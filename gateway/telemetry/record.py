"""
The record of one request, from which its log line, metrics and span are made.

The pipeline fills it in as the request goes along and hands it over once, at the end, however
the end came. It never holds a prompt, an answer, a key or a credential.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Outcome = Literal["ok", "refused", "failed", "cut", "hung_up"]
"""
How a request ended. `refused`: by the gateway, or final from the upstream (4xx). `failed`: no
target answered. `cut`: an error event after the first content. `hung_up`: the client left.
"""

UsageSource = Literal["measured", "counted", "upper_bound"]
"""Reported by the upstream, counted by the gateway as it passed, or what had been reserved."""


@dataclass(slots=True)
class TraceContext:
    """
    A W3C trace context: ids as integers, `parent_id` None where the trace begins here. Never
    changed; a frozen one would take three times as long to make.
    """

    trace_id: int
    span_id: int
    parent_id: int | None = None
    sampled: bool = False
    state: str = ""


@dataclass(slots=True)
class AttemptRecord:
    """
    One request sent to one target. Instants are seconds of the monotonic clock; `cost` is what the
    operator may have to pay for it, in nano-dollars; `sent` says whether anything went out.
    `ambiguous` says that it failed and may have been worked on, `served_model` is what the upstream
    called itself, where that is not `model`.
    """

    target: str
    provider: str
    kind: str
    model: str
    started: float
    ended: float = 0.0
    status: int | None = None
    error: str | None = None
    cost: int = 0
    span_id: int = 0
    sent: bool = False
    ambiguous: bool = False
    served_model: str = ""
    noted: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """
    One request. `model` is a configured public name, or empty where the request named no model
    that its caller may use: a client can not create a label value. `started` and the other
    instants are seconds of the monotonic clock, `at` the wall clock in UTC. Costs are nano-dollars;
    `priced` says whether the target that served has a price. `admitted` says that limits were
    asked and have room: such a request has a row in the ledger, under `admitted_at`, which is by
    the clock of the limits and names the periods that were charged.
    """

    request_id: str
    operation: str
    at: datetime
    started: float
    client_request_id: str = ""
    trace: TraceContext | None = None
    tenant: str = ""
    project: str = ""
    key: str = ""
    model: str = ""
    stream: bool = False
    target: str = ""
    status: int = 0
    outcome: Outcome = "failed"
    error: str | None = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    admitted: bool = False
    admitted_at: datetime | None = None
    reserved_tokens: int = 0
    reserved_cost: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_written_tokens: int = 0
    audio_prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    audio_completion_tokens: int = 0
    cost: int = 0
    priced: bool = False
    usage_source: UsageSource = "measured"
    limited_by: str | None = None
    first_content: float | None = None
    ended: float = 0.0
    finish_reasons: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    hops: int = 0


class Observer(Protocol):
    """Hears of every request: once when it begins and once when it has ended."""

    def began(self, operation: str) -> None:
        """A request was accepted for handling."""
        ...

    def finished(self, record: Record) -> None:
        """The request has ended and its record is complete. Never raises, never blocks."""
        ...
