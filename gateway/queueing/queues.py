"""
The slots of all providers, by their names, so that they outlive a change of configuration.

Hot: `lane`, once an attempt.
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
        gone = set(self._lanes)
        for provider in providers:
            gone.discard(provider.name)
            self.lane(provider).configure(provider.settings)
        for name in gone:
            if self._lanes[name].is_idle:
                del self._lanes[name]

    def lane(self, provider: AnyProvider) -> Lane:
        """Its slots. Who has taken one, or waits for one, gives it back there."""
        lane = self._lanes.get(provider.name)
        if lane is None:
            lane = self._lanes[provider.name] = Lane(provider.settings, self._clock)
        return lane

    def taken(self) -> int:
        """Slots taken at all providers together."""
        return sum(lane.taken for lane in self._lanes.values())

    def waiting(self) -> int:
        """Requests that wait at all providers together."""
        return sum(lane.state.waiting for lane in self._lanes.values())

    def states(self) -> Mapping[str, LaneState]:
        """What is going on, by provider."""
        return {name: lane.state for name, lane in self._lanes.items()}
