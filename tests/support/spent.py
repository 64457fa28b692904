"""A ledger as limiters ask it: what a test says was used, and which questions came."""

from collections import defaultdict
from datetime import date

from gateway.contract.errors import StoreUnavailable
from gateway.limits.limiter import Books
from gateway.limits.model import Measure


class Ledger:
    """`sums` answers, by measure, whatever the scope; `rows` are those handed over directly."""

    def __init__(self) -> None:
        self.sums: defaultdict[Measure, int] = defaultdict(int)
        self.asked: list[tuple[str, str, Measure, date, str]] = []
        self.rows: list[bytes] = []
        self.reachable = True
        self.books = Books(spent=self, outbox=self.rows.append)

    async def spent(
        self, tenant: str, scope: str, measure: Measure, start: date, *, without: str = ""
    ) -> int:
        self.asked.append((tenant, scope, measure, start, without))
        if not self.reachable:
            raise StoreUnavailable
        return self.sums[measure]
