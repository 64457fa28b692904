"""
Counts afterwards, from what Redis wrote down, whether any limit was ever passed.

By the definitions of the limits and by nothing of their implementation: sums over every interval
of a window's length, settled and reserved at every admission, leases alive at every admission.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.limits.model import Amounts, Calendar, Limit, Sliding
from tests.proofs.contest import LEASE, Event
from tests.proofs.journal import Transaction


class Window:
    """Any interval of the window's length: what is attributed to requests admitted in it."""

    def __init__(self, limit: Limit, length: int) -> None:
        self.limit = limit
        self.worst = 0
        self.over = 0
        self.total = 0
        self._length = length
        self._recent: deque[tuple[int, str]] = deque()
        self._attributed: dict[str, int] = {}
        self._sum = 0

    def admitted(self, request_id: str, at: int, amounts: Amounts) -> None:
        while self._recent and self._recent[0][0] <= at - self._length:
            _, old = self._recent.popleft()
            self._sum -= self._attributed.pop(old)
        amount = self.limit.cost(amounts)
        self._recent.append((at, request_id))
        self._attributed[request_id] = amount
        self._sum += amount
        self.total += 1
        self.worst = max(self.worst, self._sum)
        self.over += self._sum > self.limit.amount

    def ended(self, request_id: str, how: str, used: Amounts) -> None:
        if how == "E" or request_id not in self._attributed:
            return
        amount = 0 if how == "C" else self.limit.cost(used)
        self._sum -= self._attributed[request_id] - amount
        self._attributed[request_id] = amount


class Budget:
    """A calendar period: what is settled and reserved of the requests that were admitted in it."""

    def __init__(self, limit: Limit) -> None:
        assert isinstance(limit.window, Calendar)
        self.limit = limit
        self.worst = 0
        self.over = 0
        self.settled: Counter[int] = Counter()
        """By period."""
        self._calendar = limit.window
        self._reserved: dict[str, int] = {}
        self._periods: dict[str, int] = {}
        self._sums: Counter[int] = Counter()

    def admitted(self, request_id: str, at: int, amounts: Amounts) -> None:
        period = self._periods[request_id] = self._calendar.period(at)[0]
        self._reserved[request_id] = self.limit.cost(amounts)
        self._sums[period] += self._reserved[request_id]
        taken = self.settled[period] + self._sums[period]
        self.worst = max(self.worst, taken)
        self.over += taken > self.limit.amount

    def ended(self, request_id: str, how: str, used: Amounts) -> None:
        period = self._periods.get(request_id)
        if period is None:
            return
        self._sums[period] -= self._reserved.pop(request_id, 0)
        if how == "S":
            self.settled[period] += self.limit.cost(used)


class Places:
    """Leases that are alive at an admission, the new one included."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.worst = 0
        self.over = 0
        self._ends: dict[str, int] = {}

    def admitted(self, request_id: str, at: int, amounts: Amounts) -> None:
        self._ends = {holder: end for holder, end in self._ends.items() if end > at}
        self._ends[request_id] = at + round(LEASE * 1000)
        self.worst = max(self.worst, len(self._ends))
        self.over += len(self._ends) > self.limit.amount

    def renewed(self, request_id: str, end: int) -> None:
        if request_id in self._ends:
            self._ends[request_id] = end

    def ended(self, request_id: str, how: str, used: Amounts) -> None:
        self._ends.pop(request_id, None)


Count = Window | Budget | Places


def count_of(limit: Limit) -> Count:
    match limit.window.kind:
        case "w":
            assert isinstance(limit.window, Sliding)
            return Window(limit, limit.window.bucket_ms * limit.window.buckets)
        case "p":
            return Budget(limit)
        case _:
            return Places(limit)


@dataclass
class Sheet:
    """What was counted of one event."""

    event: Event
    counts: list[Count]
    admissions: list[int] = field(default_factory=list)
    """When each was admitted: ms of Redis's clock."""
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def over(self) -> int:
        """Admissions that passed a limit."""
        return sum(count.over for count in self.counts)


class Referee:
    """Reads transactions; `sheets` has what they amount to."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.sheets = {
            event.tenant: Sheet(event, list(map(count_of, event.limits))) for event in events
        }
        self._lease = round(LEASE * 1000)
        self._admitted: set[str] = set()

    def read(self, transaction: Transaction) -> None:
        """Count one script's effects."""
        admitted: str | None = None
        for name, key, *rest in transaction:
            if name == b"HSET" and key.endswith(b"}:rsv"):
                admitted = rest[0].decode()
            elif name == b"ZADD" and key.endswith(b"}:rsvx"):
                self._lease_taken(rest, admitted)
            elif name == b"SET" and b":t:" in key:
                self._ended(key.decode().rpartition(":t:")[2], rest[0][:1].decode())

    def _lease_taken(self, pairs: list[bytes], admitted: str | None) -> None:
        request_id, end = pairs[1].decode(), int(pairs[0])
        sheet = self._sheet(request_id)
        if request_id != admitted or request_id in self._admitted:  # renewed, or put back
            for count in sheet.counts:
                if isinstance(count, Places):
                    count.renewed(request_id, end)
            return
        self._admitted.add(request_id)
        at = end - self._lease
        assert not sheet.admissions or at >= sheet.admissions[-1], "the clock ran backwards"
        sheet.admissions.append(at)
        for count in sheet.counts:
            count.admitted(request_id, at, sheet.event.reserved)

    def _ended(self, request_id: str, how: str) -> None:
        sheet = self._sheet(request_id)
        sheet.ends[how] += 1
        used = sheet.event.used(request_id)
        for count in sheet.counts:
            count.ended(request_id, how, used)

    def _sheet(self, request_id: str) -> Sheet:
        return self.sheets[request_id.partition("-")[0]]
