"""
Which limits apply to a caller: those of each of its levels, tenant, project and key.

Hot: one dictionary look-up a request; the limits themselves are made once for each caller.
"""

from collections.abc import Iterable, Iterator, Mapping

import structlog

from ..contract.errors import GatewayError
from .model import Limit, Limits
from .settings import LimitsSettings, PlanSettings, limits_of

KEPT = 32_768
"""
Callers remembered, of about a kilobyte, and once more for each model that a plan names; beyond
that all are forgotten at once, to be made again in microseconds.
"""

Levels = tuple[tuple[str, str], ...]
"""Scopes and the names of their plans, as a caller has them."""

_log = structlog.get_logger()


class PlanMissing(GatewayError):
    """
    The caller's plan is not known here; without its limits nothing is admitted. One that was just
    made is known within a second.
    """

    status, type, code, retryable = 503, "server_error", "plan_missing", True

    def __init__(self) -> None:
        super().__init__("The limits of this key are not known at the moment.", retry_after=1.0)


class Plans:
    """All plans, immutable. Who has the same scope shares what its plan allows."""

    def __init__(
        self, plans: Mapping[str, PlanSettings], settings: LimitsSettings | None = None
    ) -> None:
        self._plans = dict(plans)
        self._settings = settings or LimitsSettings()
        self._named = frozenset(model for plan in plans.values() for model in plan.models)
        self._made: dict[tuple[Levels, str], Limits] = {}
        self._same: dict[Limits, Limits] = {}
        self._missed: set[str] = set()

    def limits_of(self, levels: Levels, model: str) -> Limits:
        """
        The limits of a caller that is known, for a model that exists.

        Raises:
            PlanMissing: one of its plans is not among these.
        """
        key = (levels, model if model in self._named else "")
        limits = self._made.get(key)
        if limits is None:
            if len(self._made) >= KEPT:
                self._made.clear()
            limits = self._made[key] = self.shared(self._make(levels, model))
        return limits

    def shared(self, limits: Iterable[Limit]) -> Limits:
        """The one tuple of these limits, whoever made it: a limiter knows it by identity."""
        if len(self._same) >= KEPT:
            self._same.clear()
        own = Limits(limits)
        return self._same.setdefault(own, own)

    def _make(self, levels: Levels, model: str) -> Iterator[Limit]:
        return (
            limit
            for scope, name in levels
            for limit in limits_of(
                self._plan(name),
                scope,
                model,
                budgets_on_store_error=self._settings.budgets_on_store_error,
            )
        )

    def _plan(self, name: str) -> PlanSettings:
        plan = self._plans.get(name)
        if plan is None:
            if name not in self._missed:  # the request log has every refusal
                self._missed.add(name)
                _log.error("plan_missing", plan=name, effect="its callers are refused")
            raise PlanMissing
        return plan
