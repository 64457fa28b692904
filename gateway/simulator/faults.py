"""
Faults that the simulator makes on purpose, and the dice that choose which request meets one.

A fault changes what is sent and never what is counted: the simulator's own numbers stay true, so a
test can hold a gateway's against them. `/simulator/*` is never faulted.
"""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Kind = Literal[
    "status",
    "html",
    "redirect",
    "refuse",
    "delay",
    "stall",
    "cut",
    "reset",
    "garbage",
    "error_event",
    "no_done",
    "abort",
]


class Fault(BaseModel):
    """
    One rule. The first rule that applies to a request is the one it meets.

    In place of an answer:
        status       the `status`, `body` and `retry_after` given
        html         200 with an HTML page, as a captive portal answers
        redirect     307 to `location`
        refuse       the connection closed without a byte; every path but `/simulator/*`
    Inside an answer, after so many events of a stream (`after`):
        delay        nothing for `seconds`, then on as usual
        stall        nothing more until the client leaves
        cut          the connection closed, the chunked body unfinished
        reset        likewise by RST
        garbage      one event that is no JSON, then on as usual
        error_event  vLLM's error event, then `[DONE]`
        no_done      a clean end without `[DONE]` (`after` 0: all other events are sent)
        abort        finish reason `abort` after so many tokens

    An answer that is no stream is one event: `stall`, `cut` and `reset` send nothing of it (with
    `mid_event` its first half), `garbage` is a body that is no JSON, `error_event` an error object
    under status 200.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    probability: float = Field(default=1.0, ge=0, le=1)
    times: int | None = Field(default=None, ge=1, description="Stop after so many requests.")
    path: str | None = Field(
        default=None, description="This path only, `/health` say. Default: POST under `/v1/`."
    )
    after: int = Field(default=0, ge=0, description="Events sent before it happens.")
    mid_event: bool = Field(default=False, description="Half of the next event is sent too.")
    silent: bool = Field(
        default=False, description="With `after` 0: not even the status line is sent before it."
    )
    seconds: float = Field(default=1.0, ge=0, le=3600, description="How long a delay is.")
    status: int = Field(default=503, ge=200, le=599)
    retry_after: float | str | None = Field(
        default=None, description="The `Retry-After` header, as it is written."
    )
    body: str | None = Field(default=None, description="Default: an error in vLLM's shape.")
    content_type: str = Field(default="application/json", pattern=r"^[ -~]+$")
    location: str = Field(default="http://127.0.0.1:9/", pattern=r"^[!-~]+$")

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if isinstance(self.retry_after, str) and not self.retry_after.isprintable():
            raise ValueError("retry_after cannot stand in a header")
        if self.silent and self.after:
            raise ValueError("silent goes with after=0: an event was sent by then")
        if self.mid_event and self.kind not in ("stall", "cut", "reset"):
            raise ValueError(f"nothing can follow half an event, so {self.kind} has no mid_event")
        return self


FaultList = TypeAdapter(tuple[Fault, ...])


def parse_fault(text: str) -> Fault:
    """
    A fault from its short form: `kind` or `kind,name=value,…`, as in `cut,after=3,times=1`.

    Raises:
        pydantic.ValidationError: it is not a fault.
    """
    kind, *pairs = text.split(",")
    fields = dict(pair.partition("=")[::2] for pair in pairs)
    return Fault.model_validate({"kind": kind, **fields})


class Faults:
    """The rules in force. `rules` may be replaced while requests run; those keep what they met."""

    def __init__(self, rules: tuple[Fault, ...], chances: Iterator[float]) -> None:
        self._chances = chances
        self.rules = rules

    @property
    def rules(self) -> tuple[Fault, ...]:
        """In the order in which they are tried."""
        return self._rules

    @rules.setter
    def rules(self, rules: tuple[Fault, ...]) -> None:
        self._rules = rules
        self._left = [rule.times for rule in rules]

    def draw(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, None for none; takes one of the rule's `times`."""
        for place, rule in enumerate(self._rules):
            left = self._left[place]
            if left == 0 or not _applies(rule, method, path):
                continue
            if rule.probability < 1 and next(self._chances) >= rule.probability:
                continue
            if left is not None:
                self._left[place] = left - 1
            return rule
        return None


def _applies(rule: Fault, method: str, path: str) -> bool:
    if rule.path is not None:
        return path == rule.path
    return rule.kind == "refuse" or (method == "POST" and path.startswith("/v1/"))
