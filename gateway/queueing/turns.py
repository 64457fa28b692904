"""
Whose turn is next: tenants in a circle, each with a line of its own.

Plain round robin, one request a turn. Between two turns of one tenant every tenant that has been
waiting all the while gets one; within a tenant the order is that of arrival. A waiter whose future
is done (it was cancelled, or its time is up) costs its tenant no turn. Every call takes constant
time but `push_out`, which looks at each waiting tenant once.
"""

from asyncio import Future
from collections import OrderedDict

Turn = Future[bool]
"""True when the turn has come, False when it never will."""


class Turns:
    """The waiting. `len` counts them, and those that are done and have not left yet."""

    __slots__ = ("_circle", "_waiting")

    def __init__(self) -> None:
        self._circle: OrderedDict[str, OrderedDict[Turn, None]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def tenants(self) -> int:
        """How many different ones wait."""
        return len(self._circle)

    def of(self, tenant: str) -> int:
        """How many of a tenant's wait."""
        line = self._circle.get(tenant)
        return 0 if line is None else len(line)

    def join(self, tenant: str, turn: Turn) -> None:
        """Stand at the end of the tenant's line; a tenant that is new comes after all others."""
        self._circle.setdefault(tenant, OrderedDict())[turn] = None
        self._waiting += 1

    def leave(self, tenant: str, turn: Turn) -> None:
        """Leave from wherever it stands; one that does not wait any more is no error."""
        line = self._circle.get(tenant)
        if line is None or turn not in line:
            return
        del line[turn]
        self._waiting -= 1
        if not line:
            del self._circle[tenant]

    def next(self) -> Turn | None:
        """Take out the one whose turn it is, None where nobody waits."""
        while self._circle:
            tenant, line = self._circle.popitem(last=False)
            turn = self._first(line)
            if line:
                self._circle[tenant] = line
            if turn is not None:
                return turn
        return None

    def push_out(self) -> Turn:
        """Take out the newest of the tenant with the longest line. Somebody must be waiting."""
        tenant, line = max(self._circle.items(), key=lambda each: len(each[1]))
        turn, _ = line.popitem()
        self._waiting -= 1
        if not line:
            del self._circle[tenant]
        return turn

    def _first(self, line: OrderedDict[Turn, None]) -> Turn | None:
        while line:
            turn, _ = line.popitem(last=False)
            self._waiting -= 1
            if not turn.done():
                return turn
        return None
