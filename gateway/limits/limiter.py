"""
The one interface behind which limits are kept, and what a limiter is told by the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol, Self, SupportsBytes

from .counts import Counts
from .model import Amounts, Ask, Limit, Measure, Reservation, Standings


class Spent(Protocol):
    """What the ledger says has been used of a limit."""

    async def spent(
        self, tenant: str, scope: str, measure: Measure, start: date, *, without: str = ""
    ) -> int:
        """
        The sum since the beginning of `start` (a day in UTC): requests, tokens or nano-dollars.

        `without` is the id of a request whose row does not count. Whatever it raises means that
        nobody knows.
        """
        ...


def _kept_nowhere(entry: SupportsBytes) -> None:
    """Where no ledger is kept."""


@dataclass(frozen=True, slots=True)
class Books:
    """
    The ledger, as a limiter needs it.

    `spent` is asked for what a counter that has lost its past begins with, 0 where it is None.
    `outbox` takes a row that can not travel with the settlement that it belongs to; it must not
    block and keeps what it was given.
    """

    spent: Spent | None = None
    outbox: Callable[[SupportsBytes], None] = _kept_nowhere


class Limiter(Protocol):
    """Keeps limits. `async with` opens and closes it; only then leases are renewed."""

    counts: Counts

    @property
    def keeps_notes(self) -> bool:
        """Whether reservations outlive this process, with the notes that came with them."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether the store is believed to answer."""
        ...

    @property
    def evicts(self) -> str:
        """The policy by which a full store drops what it keeps; empty if it drops nothing."""
        ...

    async def reserve(
        self,
        request_id: str,
        tenant: str,
        limits: tuple[Limit, ...],
        ask: Ask,
        *,
        note: bytes = b"",
    ) -> Reservation:
        """
        Take what the request may use at most from every limit, or nothing from any.

        Where a calendar limit has too little left, the cap is lowered to the highest that all of
        them have room for, but not below `ask.least`; the reservation says which it has become.
        A sliding window must have room for the whole cap. `note` is what the ledger will say of
        the request if nobody lives to settle it.

        Whoever gets a reservation settles it, once, however the request ends.

        Raises:
            LimitExceeded: a limit has too little left now; nothing was taken.
            BudgetExhausted: that limit is one on money.
            RequestExceedsLimit: a limit can never hold so much; nothing was taken.
            LimitsUnavailable: the store is out of reach and the policy is to refuse.
        """
        ...

    async def extend(self, reservation: Reservation, amounts: Amounts) -> None:
        """
        Raise what the reservation holds to `amounts`, in every limit or in none; less than is
        held already changes nothing.

        Raises as `reserve` does, the reservation being what it was; its wait is an estimate.
        A reservation that is no longer known is lost: its holder is told so, and
        LimitsUnavailable is raised.
        """
        ...

    async def settle(
        self, reservation: Reservation, used: Amounts, *, entry: SupportsBytes | None = None
    ) -> None:
        """
        Charge what was used, give back the rest, and hand `entry`, the request's row, to the
        ledger: packed where it leaves this process. Never raises; a second call does nothing.
        """
        ...

    async def cancel(self, reservation: Reservation) -> None:
        """
        Give back all of it, the count of the request too: nothing was begun under these limits.
        Never raises; instead of `settle`.
        """
        ...

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> Standings:
        """
        How limits stand now; nothing is taken.

        Raises:
            LimitsUnavailable: the store is out of reach.
        """
        ...

    async def open(self) -> None:
        """Begin to renew leases."""
        ...

    async def aclose(self) -> None:
        """Stop renewing. Reservations that are still open end with their lease."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *raised: object) -> None: ...
