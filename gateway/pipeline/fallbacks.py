"""
Which model answers where another one does not.

Only models that the operator has named for the reason at hand, and only such as the caller may
use. A refusal is an answer unless somebody has said otherwise.
"""

from collections import deque
from collections.abc import Callable

from ..contract.errors import NoHealthyUpstream, ProviderError, Retry
from ..contract.provider import Operation
from ..routing import MAX_FALLBACKS, Reason, Route, Routes

REFUSALS: dict[str | None, Reason] = {
    "context_length_exceeded": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
}
"""Refusals that another model may answer differently, by the codes that upstreams give them."""


class Fallbacks:
    """The models of one request after `first`, which was asked for; `may_use` is its caller's."""

    def __init__(
        self, routes: Routes, first: Route, operation: Operation, may_use: Callable[[str], bool]
    ) -> None:
        self._routes = routes
        self._current = first
        self._operation = operation
        self._may_use = may_use
        self._tried = {first.model}
        self._waiting: deque[tuple[str, tuple[Reason, ...]]] = deque()

    def after(self, error: NoHealthyUpstream | ProviderError) -> Route | None:
        """The model to try after the present one has failed so; None if that is the answer."""
        reason = _reason(error)
        if reason is None:
            return None
        settings = self._current.settings.fallback
        if settings is not None:
            self._waiting.extendleft((each, settings.on) for each in reversed(settings.to))
        while self._waiting and len(self._tried) < MAX_FALLBACKS:
            name, on = self._waiting.popleft()
            if reason in on and (route := self._usable(name)) is not None:
                self._current = route
                return route
        return None

    def _usable(self, name: str) -> Route | None:
        if name in self._tried or not self._may_use(name):
            return None
        self._tried.add(name)
        route = self._routes.find(name)
        return route if route is not None and route.offering(self._operation) else None


def told_of(
    failure: NoHealthyUpstream | ProviderError | None, later: NoHealthyUpstream | ProviderError
) -> NoHealthyUpstream | ProviderError:
    """
    Which failure the client hears of: the later one, unless only the earlier says to try again,
    which is as true as before where nobody may have worked on the request since.
    """
    is_ambiguous = isinstance(later, ProviderError) and later.retry is Retry.ONCE
    if failure is None or is_ambiguous or later.retryable or not failure.retryable:
        return later
    return failure


def _reason(error: NoHealthyUpstream | ProviderError) -> Reason | None:
    if isinstance(error, ProviderError) and error.retry is Retry.FINAL:
        return REFUSALS.get(error.code)
    return "unavailable"
