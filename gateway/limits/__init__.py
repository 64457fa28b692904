"""
How much a caller may still use.

A limit is taken before the first attempt and settled after the last, so a burst of slow calls
can not overdraw it. Limits are kept in this process, or on Redis by `gateway.limits.redis`, which
is loaded only where it is used.
"""

from .estimate import (
    MARGIN,
    choices,
    named_cap,
    output_tokens,
    prompt_tokens,
    reserved_tokens,
)
from .headers import ratelimit_headers
from .memory import MemoryLimiter
from .model import Counts, Limit, Limiter, LimitReached, Reservation, Standing
from .plans import Plans
from .settings import LimitsSettings, PlanSettings, limits_of

__all__ = [
    "PlanSettings",
    "LimitsSettings",
    "limits_of",
    "Plans",
    "Limit",
    "Limiter",
    "LimitReached",
    "Reservation",
    "Standing",
    "Counts",
    "MemoryLimiter",
    "ratelimit_headers",
    "prompt_tokens",
    "output_tokens",
    "named_cap",
    "choices",
    "reserved_tokens",
    "MARGIN",
]
