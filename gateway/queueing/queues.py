"""
The slots of all providers, by their names, so that they outlive a change of configuration.

Hot: `try_take` and `give_back`, once an attempt: one look-up each.
"""

from collections.abc import Callable, Iterable, Mapping

from ..contract.provider import AnyProvider
from .lane import Lane, LaneState


class Queues:
    """
    Requests in flight at each provider, and those that wait. `clock` is in seconds and steady.

    A provider that it has not been told of is known from the first request on.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lanes: dict[str, Lane] = {}

    def configure(self, providers: Iterable[AnyProvider]) -> None:
        """
        From now on these settings hold, for the requests that wait too. What is in flight stays
        counted; a provider that is gone is forgotten when nobody is there any more.
        """
        now = self._clock()
        gone = set(self._lanes)
        for provider in providers:
            gone.discard(provider.name)
            self._lane(provider).configure(provider.settings, now)
        for name in gone:
            if self._lanes[name].is_idle:
                del self._lanes[name]

    def try_take(self, provider: AnyProvider) -> bool:
        """Take a slot if one is free, which it never is while somebody waits for it."""
        lane = self._lanes.get(provider.name) or self._lane(provider)
        return lane.take(self._clock())

    async def take(self, provider: AnyProvider, tenant: str, *, until: float) -> None:
        """
        Take a slot, after a turn in the provider's line if none is free.

        `until` is an instant of the running loop's clock. Cancelled or refused, it holds nothing.

        Raises:
            ProviderBusy: there is no line, it is full, it would take too long or it has; its
                `retry_after` tells from the measured pace when a repeat would get through.
        """
        lane = self._lanes.get(provider.name) or self._lane(provider)
        now = self._clock()
        if not lane.take(now):
            await lane.wait(tenant, until, now)

    def give_back(
        self, provider: AnyProvider, *, seconds: float | None = None, overloaded: bool = False
    ) -> None:
        """
        Free a slot that was taken.

        `seconds` is the time to the first content, None where there was none. `overloaded` says
        that the upstream had too much to do: it refused with 429 or 503, or let a deadline pass.
        """
        lane = self._lanes[provider.name]
        lane.give_back(self._clock(), seconds=seconds, overloaded=overloaded)

    def taken(self) -> int:
        """Slots taken at all providers together."""
        return sum(lane.taken for lane in self._lanes.values())

    def waiting(self) -> int:
        """Requests that wait at all providers together."""
        return sum(lane.state.waiting for lane in self._lanes.values())

    def states(self) -> Mapping[str, LaneState]:
        """What is going on, by provider."""
        return {name: lane.state for name, lane in self._lanes.items()}

    def _lane(self, provider: AnyProvider) -> Lane:
        lane = self._lanes.get(provider.name)
        if lane is None:
            lane = self._lanes[provider.name] = Lane(provider.settings, self._clock())
        return lane
