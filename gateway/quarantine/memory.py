"""
The book of one process.

Bounded: `TENANTS` tenants, of which the one whose last kill is oldest makes way.

Hot: `flag` runs once a request, and is one look-up while there are no kills.
"""

from collections import OrderedDict
from collections.abc import Callable

from .book import MOST, Flag

TENANTS = 1024

_Kill = tuple[str, str]


class _Up:
    async def is_up(self) -> bool:
        return True


_UP = _Up()


class MemoryBook:
    """Kills of this process. `clock` and `window` are in seconds."""

    def __init__(self, window: float, *, clock: Callable[[], float]) -> None:
        self._window = window
        self._clock = clock
        self._tenants: OrderedDict[str, OrderedDict[_Kill, float]] = OrderedDict()

    def flag(self, tenant: str) -> Flag | None:
        return _UP if tenant in self._tenants and self._of(tenant) else None

    async def kills(self, tenant: str, fingerprint: str) -> int:
        return sum(what == fingerprint for what, _ in self._of(tenant))

    async def add(self, tenant: str, fingerprint: str, backend: str) -> int:
        kills = self._tenants.setdefault(tenant, OrderedDict())
        kills[fingerprint, backend] = self._clock()
        kills.move_to_end((fingerprint, backend))
        self._tenants.move_to_end(tenant)
        if len(kills) > MOST:
            kills.popitem(last=False)
        if len(self._tenants) > TENANTS:
            self._tenants.popitem(last=False)
        return await self.kills(tenant, fingerprint)

    async def acquit(self, tenant: str, fingerprint: str) -> None:
        kills = self._of(tenant)
        for kill in [each for each in kills if each[0] == fingerprint]:
            del kills[kill]

    def _of(self, tenant: str) -> OrderedDict[_Kill, float]:
        """A tenant's kills that still count, the oldest first; it is forgotten with the last."""
        kills = self._tenants.get(tenant)
        if kills is None:
            return OrderedDict()
        over = self._clock() - self._window
        while kills and next(iter(kills.values())) <= over:
            kills.popitem(last=False)
        if not kills:
            del self._tenants[tenant]
        return kills
