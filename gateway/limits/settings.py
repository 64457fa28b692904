"""
Plans and the keeping of limits, as the configuration file states them.

Rates are written in the notation of the `limits` package: `600/minute`, `2 per 5 minute`,
`10/second; 600/minute`. Seconds, minutes and hours are sliding windows; a day and a month are
calendar periods in UTC.
"""

from typing import Literal

from limits import RateLimitItem, parse_many
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..contract.duration import Duration
from .model import AtOnce, Calendar, Limit, Measure, Sliding, Window

FINEST = 60
"""
Sub-buckets of a window at most. The largest number that divides the window evenly is taken, which
is 50 or more for any whole number of seconds: at least 98 % of a limit can be used.
"""


class PlanSettings(BaseModel):
    """One entry under `plans:`. What is not given is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: str | None = Field(
        default=None, description="Requests per time: `600/minute`, `10/second; 600/minute`."
    )
    tokens: str | None = Field(
        default=None, description="Prompt and completion tokens per time: `200000/minute`."
    )
    concurrency: int | None = Field(default=None, gt=0, description="Requests at once.")

    @field_validator("requests", "tokens")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is not None:
            rates(value)
        return value


class LimitsSettings(BaseModel):
    """How limits are kept on Redis."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_store_error: Literal["refuse", "allow", "local"] = Field(
        default="local",
        description="While Redis is out of reach: answer 503, admit everything, or hold each "
        "process to its share of every limit.",
    )
    max_replicas: int = Field(
        default=4,
        gt=0,
        description="Processes that share the limits at most, workers included: "
        "`local` gives each this part.",
    )
    deadline: Duration = Field(default=0.05, description="Until Redis must have answered.")
    lease: Duration = Field(
        default=15.0, description="How long a dead process may hold what it has reserved."
    )
    sweep: Duration = Field(default=1.0, description="Between two searches for ended leases.")


def rates(text: str) -> tuple[tuple[int, Window], ...]:
    """
    Read amounts and their windows.

    Raises:
        ValueError: the notation is wrong, or names what is not kept; the message quotes it.
    """
    try:
        items = parse_many(text)
    except ValueError:
        raise ValueError(f"{text!r} is no rate; write it like 600/minute") from None
    read = tuple((item.amount, _window(item, text)) for item in items)
    if len({window.name for _, window in read}) < len(read):
        raise ValueError(f"{text!r} limits the same time twice")
    if any(amount == 0 for amount, _ in read):
        raise ValueError(f"{text!r} allows nothing; leave the model out of the tenant's instead")
    return read


def limits_of(plan: PlanSettings, scope: str) -> tuple[Limit, ...]:
    """The limits that a plan sets for `tenant:<id>` or `key:<public id>`."""
    written: tuple[tuple[Measure, str | None], ...] = (
        ("requests", plan.requests),
        ("tokens", plan.tokens),
    )
    limits = [
        Limit(scope, measure, amount, window)
        for measure, text in written
        if text is not None
        for amount, window in rates(text)
    ]
    if plan.concurrency is not None:
        limits.append(Limit(scope, "concurrency", plan.concurrency, AtOnce()))
    return tuple(limits)


def _window(item: RateLimitItem, text: str) -> Window:
    match item.GRANULARITY.name:
        case "second" | "minute" | "hour":
            length = item.get_expiry() * 1000
            buckets = max(n for n in range(1, FINEST + 1) if length % n == 0)
            return Sliding(bucket_ms=length // buckets, buckets=buckets)
        case "day" | "month" as unit if item.multiples == 1:
            return Calendar(unit)
        case "day" | "month" as unit:
            raise ValueError(f"{text!r}: a calendar {unit} can not be multiplied; use hours")
        case unit:
            raise ValueError(f"{text!r}: a {unit} is no period of a limit; use months")
