"""
What was done to a limiter, and what follows from it by the definitions of LIMITS and by nothing
else: who holds what, what is charged, what is in use.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gateway.limits.model import NOTHING, Amounts, Calendar, Limit, Reservation, Sliding

State = Literal["open", "expired", "settled", "gone"]


@dataclass(eq=False)
class Request:
    """One request that was admitted."""

    reservation: Reservation
    gateway: int
    admitted: int
    """When it was admitted, ms: its periods are of then."""
    ends: float
    """When its lease ends, ms."""
    state: State = "open"
    heard: Amounts = NOTHING
    """What it was last heard to have used: what its owner's death costs."""
    relayed: Amounts = NOTHING
    """What its holder knows that it has used."""
    used: Amounts = NOTHING
    voided: bool = False
    """Its windows are not counted any more: the clock that counted them was given up."""
    places: bool = True
    """Whether it still holds its places, for as long as its lease."""
    dead: bool = False
    """Whether its holder has died."""
    names: frozenset[str] = field(init=False)
    charged_at: dict[str, int] = field(default_factory=dict)
    """When limits of these names count it, if not since its admission: when it was extended."""

    def __post_init__(self) -> None:
        self.names = frozenset(limit.name for limit in self.limits)

    @property
    def id(self) -> str:
        return self.reservation.request_id

    @property
    def tenant(self) -> str:
        return self.reservation.tenant

    @property
    def limits(self) -> tuple[Limit, ...]:
        return self.reservation.limits

    @property
    def amounts(self) -> Amounts:
        return self.reservation.amounts

    def at(self, limit: Limit) -> int:
        """The instant by which a window counts it."""
        return self.charged_at.get(limit.name, self.admitted)

    def counts_for(self, limit: Limit) -> bool:
        """Whether the limit, by whatever amount, is one of the request's."""
        return limit.name in self.names

    def attributed(self, limit: Limit) -> int:
        """What windows count of it."""
        held = limit.cost(self.amounts)
        match self.state:
            case "settled":
                return min(held, limit.cost(self.used))
            case "gone":
                return 0
            case _:
                return held

    def spent(self, limit: Limit) -> int:
        """What a period is charged for it."""
        match self.state:
            case "settled":
                return limit.cost(self.used)
            case "expired":
                return limit.cost(self.heard)
            case _:
                return 0

    def reserved(self, limit: Limit) -> int:
        """What a period holds for it."""
        return limit.cost(self.amounts) if self.state == "open" else 0

    def is_of(self, limit: Limit, period: int) -> bool:
        """Whether that period of that limit counts it."""
        assert isinstance(limit.window, Calendar)
        return self.counts_for(limit) and limit.window.period(self.admitted)[0] == period


@dataclass(eq=False)
class Excess:
    """What a request used beyond its reservation, charged when that was known."""

    at: int
    tenant: str
    limit: Limit
    amount: int
    voided: bool = False


@dataclass
class Truth:
    """All that was done. `now` is the instant by which the last call counted, ms."""

    now: int = 0
    furthest: int = 0
    """The latest instant that any call has counted by, by whatever clock."""
    requests: dict[str, Request] = field(default_factory=dict)
    excesses: list[Excess] = field(default_factory=list)

    def of(self, tenant: str) -> "Truth":
        """What concerns one tenant: limits of two may have one name."""
        requests = {name: each for name, each in self.requests.items() if each.tenant == tenant}
        return Truth(
            self.now,
            self.furthest,
            requests,
            [each for each in self.excesses if each.tenant == tenant],
        )

    def holding(self, limit: Limit) -> Iterator[Request]:
        return (each for each in self.requests.values() if each.counts_for(limit))

    def window(self, limit: Limit, length: int) -> int:
        """What the `length` ms until now hold of requests that were admitted in them."""
        return sum(
            each.attributed(limit)
            for each in self.holding(limit)
            if each.at(limit) > self.now - length and not each.voided
        )

    def charged(self, limit: Limit, since: int) -> int:
        """What a window of ours may count since that instant, excesses included."""
        return sum(amount for at, amount, _ in self._charges(limit) if at >= since)

    def bucket(self, limit: Limit, number: int) -> int | None:
        """What one sub-bucket must hold; None if a clock that was given up may have filled it."""
        assert isinstance(limit.window, Sliding)
        charges = [
            (amount, voided)
            for at, amount, voided in self._charges(limit)
            if at // limit.window.bucket_ms == number
        ]
        return (
            None if any(voided for _, voided in charges) else sum(amount for amount, _ in charges)
        )

    def _charges(self, limit: Limit) -> Iterator[tuple[int, int, bool]]:
        for each in self.holding(limit):
            yield each.at(limit), each.attributed(limit), each.voided
        for excess in self.excesses:
            if excess.limit.name == limit.name:
                yield excess.at, excess.amount, excess.voided

    def spent(self, limit: Limit, period: int) -> int:
        counted = (each for each in self.requests.values() if each.is_of(limit, period))
        return sum(each.spent(limit) for each in counted)

    def reserved(self, limit: Limit, period: int) -> int:
        counted = (each for each in self.requests.values() if each.is_of(limit, period))
        return sum(each.reserved(limit) for each in counted)

    def in_use(self, limit: Limit, at: int = 0) -> int:
        """What is settled and reserved of a calendar limit, now if no instant is given."""
        assert isinstance(limit.window, Calendar)
        period = limit.window.period(at or self.now)[0]
        return self.spent(limit, period) + self.reserved(limit, period)

    def alive(self, limit: Limit) -> int:
        """Requests that surely hold a place: what a clock given up has promised is in doubt."""
        return sum(
            each.places and each.ends > self.now and not each.voided for each in self.holding(limit)
        )

    def the_clock_was_given_up(self, now: int, ends: float) -> None:
        """It had run ahead: what it counted is void, what it promised is cut down."""
        self.now = now
        for each in self.requests.values():
            each.voided = True
            each.ends = min(each.ends, ends)
        for excess in self.excesses:
            excess.voided = True
