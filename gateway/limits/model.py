"""
How much a caller may use: the words of limits, and the one interface behind which they are kept.

A reservation is taken before the first attempt and settled after the last, whatever happened in
between. Amounts are integers. A refused reservation changes no counter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Literal, Protocol, Self

from ..contract.errors import LimitExceeded, RequestExceedsLimit

Measure = Literal["requests", "tokens", "concurrency"]
Unit = Literal["day", "month"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Sliding:
    """
    Any interval of `buckets` × `bucket_ms` holds no more than the amount.

    What was taken leaves one bucket late at most, so n/(n+1) of the amount can be used.
    """

    kind: ClassVar[str] = "w"
    bucket_ms: int
    buckets: int

    @property
    def name(self) -> str:
        """How counters of this window are told from those of another."""
        return f"w:{self.bucket_ms}x{self.buckets}"

    def __str__(self) -> str:
        return f"per {self.bucket_ms * self.buckets / 1000:g} s"

    def resets_in(self, now: int) -> int:
        """Milliseconds until what is taken at `now` (ms) has left."""
        return (now // self.bucket_ms + self.buckets + 1) * self.bucket_ms - now


@dataclass(frozen=True, slots=True)
class Calendar:
    """A day or a month in UTC: settled + reserved never pass the amount at an admission."""

    kind: ClassVar[str] = "p"
    unit: Unit

    @property
    def name(self) -> str:
        """How counters of this period are told from those of another."""
        return f"p:{self.unit}"

    def __str__(self) -> str:
        return f"per {self.unit}"

    def period(self, now: int) -> tuple[int, int]:
        """The number of the period that holds `now` (ms since 1970), and where it ends."""
        day = now // DAY_MS
        if self.unit == "day":
            return day, (day + 1) * DAY_MS
        date = datetime.fromtimestamp(now // 1000, UTC)
        month = date.year * 12 + date.month  # January's is 1, so this is the next one from 0
        end = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        return month, int(end.timestamp()) * 1000

    def resets_in(self, now: int) -> int:
        """Milliseconds until the period ends."""
        return self.period(now)[1] - now


@dataclass(frozen=True, slots=True)
class AtOnce:
    """As many at the same time; a place is a lease that its holder renews."""

    kind: ClassVar[str] = "c"
    name: ClassVar[str] = "c"

    def __str__(self) -> str:
        return "at once"

    def resets_in(self, now: int) -> int:
        """0: nothing leaves by itself."""
        return 0


Window = Sliding | Calendar | AtOnce


@dataclass(frozen=True, slots=True)
class Limit:
    """
    One limit of one scope: `tenant:<id>` or `key:<public id>`.

    Limits of the same `name` count together, whatever their amounts.
    """

    scope: str
    measure: Measure
    amount: int
    window: Window
    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.window.name}:{self.measure}:{self.scope}")

    def __hash__(self) -> int:
        return hash(self.name)  # a string keeps its hash, and limits are looked up twice a request

    def cost(self, tokens: int) -> int:
        """What a request of so many tokens takes from it."""
        return tokens if self.measure == "tokens" else 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a limit after an admission; `reset` is seconds until it is wholly free."""

    limit: Limit
    remaining: int
    reset: float


@dataclass(slots=True)
class Reservation:
    """
    What one request holds, until it is settled.

    `lost` becomes true, and `on_lost` is called, when a lease could not be held: the holder must
    stop using what the limits protect, and settles as always. `on_lost` must not raise.
    """

    request_id: str
    tenant: str
    limits: tuple[Limit, ...]
    tokens: int
    standings: tuple[Standing, ...] = ()
    lost: bool = False
    settled: bool = False
    on_lost: Callable[[], None] | None = None

    def lose(self) -> None:
        """Tell the holder, once."""
        if self.lost:
            return
        self.lost = True
        if self.on_lost is not None:
            self.on_lost()


@dataclass(slots=True)
class Counts:
    """What a limiter has seen since its start, for metrics."""

    admitted: int = 0
    refused_requests: int = 0
    refused_tokens: int = 0
    refused_concurrency: int = 0
    too_large: int = 0
    unavailable: int = 0
    """Refused because the store was out of reach."""
    allowed_unseen: int = 0
    """Admitted without a check because the store was out of reach."""
    held_locally: int = 0
    """Admitted by this process's own share because the store was out of reach."""
    overshoot_tokens: int = 0
    """Used beyond what had been reserved."""
    late: int = 0
    """Settled after the lease had ended."""
    lost: int = 0
    """Holders told to stop."""
    overlaps: int = 0
    """Holders that went on after an outage although their place was taken."""
    expired: int = 0
    """Reservations of others whose lease had ended."""
    unsettled: int = 0
    """Settlements given up while the store was out of reach: they end with their lease."""
    store_failures: int = 0
    clock_resets: int = 0

    def refused(self, limit: Limit) -> None:
        """A request was refused by a limit."""
        match limit.measure:
            case "requests":
                self.refused_requests += 1
            case "tokens":
                self.refused_tokens += 1
            case "concurrency":
                self.refused_concurrency += 1


class Limiter(Protocol):
    """Keeps limits. `async with` opens and closes it; only then leases are renewed."""

    counts: Counts

    @property
    def reachable(self) -> bool:
        """Whether the store is believed to answer."""
        ...

    async def reserve(
        self, request_id: str, tenant: str, limits: tuple[Limit, ...], *, tokens: int
    ) -> Reservation:
        """
        Take one request of at most `tokens` tokens from every limit, or nothing from any.

        Whoever gets a reservation settles it, once, however the request ends.

        Raises:
            LimitExceeded: a limit has too little left now; nothing was taken.
            RequestExceedsLimit: a limit can never hold so much; nothing was taken.
            LimitsUnavailable: the store is out of reach and the policy is to refuse.
        """
        ...

    async def settle(self, reservation: Reservation, *, tokens: int) -> None:
        """
        Charge what was used and give back the rest. Never raises; a second call does nothing.
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


def check_fits(limits: tuple[Limit, ...], tokens: int, counts: Counts) -> None:
    """
    Raises:
        RequestExceedsLimit: the request is larger than one of the limits can ever hold.
    """
    for limit in limits:
        if limit.cost(tokens) > limit.amount:
            counts.too_large += 1
            raise RequestExceedsLimit(
                f"The request needs {limit.cost(tokens)} {limit.measure}, but the limit is "
                f"{limit.amount} {limit.window}."
            )


class LimitReached(LimitExceeded):
    """The refusal by one limit, with how all of them stand: unchanged."""

    def __init__(self, limit: Limit, wait: int, standings: tuple[Standing, ...]) -> None:
        """`wait` is milliseconds until the limit has room."""
        super().__init__(
            f"Rate limit reached for {limit.measure}: {limit.amount} {limit.window}. "
            f"Please try again in {wait / 1000:g} s.",
            measure=limit.measure,
            retry_after=wait / 1000,
        )
        self.standings = standings
