"""
Which limits apply to a caller: its tenant's plan, and the key's own beside it.

Hot: one dictionary look-up a request; the limits themselves are made once for each key.
"""

from collections.abc import Mapping

from .model import Limit
from .settings import PlanSettings, limits_of


class Plans:
    """The configured plans. A tenant's keys share what its plan allows."""

    def __init__(self, plans: Mapping[str, PlanSettings]) -> None:
        self._plans = plans
        self._made: dict[tuple[str, str, str, str | None], tuple[Limit, ...]] = {}

    def limits_of(
        self, *, tenant: str, plan: str, key_id: str, key_plan: str | None
    ) -> tuple[Limit, ...]:
        """The limits of a caller that is known: as many are kept as there are keys."""
        caller = (tenant, plan, key_id, key_plan)
        limits = self._made.get(caller)
        if limits is None:
            limits = limits_of(self._plans[plan], f"tenant:{tenant}")
            if key_plan is not None:
                limits += limits_of(self._plans[key_plan], f"key:{key_id}")
            self._made[caller] = limits
        return limits
