"""
Plans and the keeping of limits, as the configuration file states them.

Rates are written in the notation of the `limits` package: `600/minute`, `2 per 5 minute`,
`10/second; 600/minute`. Seconds, minutes and hours are sliding windows; a day and a month are
calendar periods in UTC. Budgets are USD a day or a month, `20 USD/month; 1 USD/day`, and become
whole nano-dollars.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from limits import RateLimitItem, parse_many
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..contract.duration import Duration
from ..contract.money import NANO, nano_dollars
from .model import AtOnce, Calendar, Limit, Measure, OnStoreError, Sliding, Window

FINEST = 60
"""
Sub-buckets of a window at most. The largest number that divides the window evenly is taken, which
is 50 or more for any whole number of seconds: at least 98 % of a limit can be used.
"""

MOST = 2**53 - 1
"""Of any amount: Redis's scripts count in doubles, which are exact up to it."""

Spending = Literal["refuse", "local", "i_accept_unlimited_spend"]

_SPENDING: Mapping[Spending, OnStoreError] = {
    "refuse": "refuse",
    "local": "local",
    "i_accept_unlimited_spend": "allow",
}
_BUDGET = re.compile(r"([0-9.]+) ?USD ?(?:/|per ) ?(day|month)")


class QuotaSettings(BaseModel):
    """How much may be used. What is not given is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: str | None = Field(
        default=None, description="Requests per time: `600/minute`, `10/second; 600/minute`."
    )
    tokens: str | None = Field(
        default=None,
        description="Prompt and completion tokens per time: `200000/minute; 1000000/day`.",
    )
    concurrency: int | None = Field(default=None, gt=0, le=MOST, description="Requests at once.")
    budget: str | None = Field(
        default=None, description="Money per day or month: `20 USD/month; 1 USD/day`."
    )

    @field_validator("requests", "tokens")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is not None:
            rates(value)
        return value

    @field_validator("budget")
    @classmethod
    def _is_a_budget(cls, value: str | None) -> str | None:
        if value is not None:
            budgets(value)
        return value


class OutageSettings(BaseModel):
    """What holds for each kind of limit while Redis is out of reach."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: OnStoreError | None = Field(
        default=None, description="While Redis is out of reach. Default: `limits.on_store_error`."
    )
    tokens: OnStoreError | None = Field(default=None, description="As for `requests`.")
    concurrency: OnStoreError | None = Field(default=None, description="As for `requests`.")
    budget: Spending | None = Field(
        default=None,
        description="While Redis is out of reach. Default: `limits.budgets_on_store_error`.",
    )


class PlanSettings(QuotaSettings):
    """One entry under `plans:`."""

    models: Mapping[str, QuotaSettings] = Field(
        default={}, description="Further limits of single models, beside the plan's own."
    )
    on_store_error: OutageSettings = Field(default=OutageSettings())


class LimitsSettings(BaseModel):
    """How limits are kept on Redis."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_store_error: Literal["refuse", "allow", "local"] = Field(
        default="local",
        description="While Redis is out of reach: answer 503, admit everything, or hold each "
        "process to its share of every limit. A plan may say otherwise.",
    )
    budgets_on_store_error: Spending = Field(
        default="refuse",
        description="The same for budgets. To admit everything must be spelt out: what is spent "
        "meanwhile is in the ledger, but nothing holds it.",
    )
    token_estimate: Literal["calibrated", "strict"] = Field(
        default="calibrated",
        description="What token limits reserve for a prompt: about as many tokens as its text "
        "has, or as many as it may have at most. What is used is charged either way.",
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
    ledger_backlog: int = Field(
        default=100_000,
        gt=0,
        description="Usage records that may wait on Redis for the ledger, in each of 64 shards. "
        "Where more wait nothing is admitted, so that none is lost.",
    )


@lru_cache(maxsize=1024)
def rates(text: str) -> tuple[tuple[int, Window], ...]:
    """
    Read amounts and their windows; what was read is remembered, for each caller has its own.

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
    if any(amount > MOST for amount, _ in read):
        raise ValueError(f"{text!r} is more than can be counted")
    return read


@lru_cache(maxsize=1024)
def budgets(text: str) -> tuple[tuple[int, Calendar], ...]:
    """
    Read amounts, in nano-dollars, and their periods.

    Raises:
        ValueError: the notation is wrong, or the amount can not be kept; the message quotes it.
    """
    read = tuple(_budget(part.strip(), text) for part in text.split(";"))
    if len({period for _, period in read}) < len(read):
        raise ValueError(f"{text!r} limits the same time twice")
    return read


def _budget(part: str, text: str) -> tuple[int, Calendar]:
    written = _BUDGET.fullmatch(part)
    if written is None:
        raise ValueError(f"{text!r} is no budget; write it like 20 USD/month")
    try:
        amount = nano_dollars(written[1])
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if amount == 0:
        raise ValueError(f"{text!r} allows nothing; leave the model out of the tenant's instead")
    if amount > MOST:
        raise ValueError(f"{text!r}: a budget is {MOST // NANO} USD at most")
    return amount, Calendar("day" if written[2] == "day" else "month")


def limits_of(
    plan: PlanSettings,
    scope: str,
    model: str | None = None,
    *,
    budgets_on_store_error: Spending = "refuse",
) -> tuple[Limit, ...]:
    """
    The limits that a plan sets for `tenant:<id>`, `project:<id>` or `key:<public id>`: its own,
    and those of a model where one is asked for.

    `budgets_on_store_error` holds where the plan itself does not say.
    """
    outage = plan.on_store_error
    policies: dict[Measure, OnStoreError | None] = {
        "requests": outage.requests,
        "tokens": outage.tokens,
        "concurrency": outage.concurrency,
        "money": _SPENDING[outage.budget or budgets_on_store_error],
    }
    limits = _limits(plan, scope, policies)
    if model is not None and (of_model := plan.models.get(model)) is not None:
        limits += _limits(of_model, f"{scope}/m:{model_hash(model)}", policies)
    return limits


def model_hash(model: str) -> str:
    """What a scope calls a model, whose own name may hold anything."""
    return sha256(model.encode()).hexdigest()[:12]


def _limits(
    quota: QuotaSettings, scope: str, policies: Mapping[Measure, OnStoreError | None]
) -> tuple[Limit, ...]:
    kept: list[tuple[Measure, int, Window]] = []
    if quota.requests is not None:
        kept += [("requests", *rate) for rate in rates(quota.requests)]
    if quota.tokens is not None:
        kept += [("tokens", *rate) for rate in rates(quota.tokens)]
    if quota.concurrency is not None:
        kept.append(("concurrency", quota.concurrency, AtOnce()))
    if quota.budget is not None:
        kept += [("money", *budget) for budget in budgets(quota.budget)]
    return tuple(
        Limit(scope, measure, amount, window, policies[measure]) for measure, amount, window in kept
    )


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
