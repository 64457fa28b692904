"""
How much a caller may still use.

A limit is taken before the first attempt and settled after the last, so a burst of slow calls
can not overdraw it. Limits are kept in this process, or on Redis by `gateway.limits.redis`, which
is loaded only where it is used.
"""

from .bound import input_bound
from .counts import Counts
from .estimate import (
    MARGIN,
    choices,
    named_cap,
    prompt_tokens,
)
from .headers import ratelimit_headers
from .limiter import Books, Limiter, Spent
from .memory import MemoryLimiter
from .model import (
    NOT_LIMITED,
    Amounts,
    Ask,
    Limit,
    Limits,
    Measure,
    OnStoreError,
    Reservation,
    Standing,
    Standings,
)
from .plans import Levels, PlanMissing, Plans
from .refusal import BudgetSpent, LimitReached
from .settings import LimitsSettings, PlanSettings, QuotaSettings, budgets, limits_of, rates

__all__ = [
    "PlanSettings",
    "QuotaSettings",
    "LimitsSettings",
    "limits_of",
    "rates",
    "budgets",
    "Plans",
    "Levels",
    "PlanMissing",
    "Amounts",
    "Ask",
    "Limit",
    "Limits",
    "Measure",
    "OnStoreError",
    "Limiter",
    "LimitReached",
    "BudgetSpent",
    "Reservation",
    "Standing",
    "Standings",
    "NOT_LIMITED",
    "Counts",
    "Books",
    "Spent",
    "MemoryLimiter",
    "ratelimit_headers",
    "input_bound",
    "prompt_tokens",
    "named_cap",
    "choices",
    "MARGIN",
]
