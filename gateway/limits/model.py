"""
The words of limits: what is limited, how it stands, and what one request holds of it.

A reservation is taken before the first attempt and settled after the last, whatever happened in
between. Amounts are integers. A refused reservation changes no counter.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from .amounts import NOTHING as NOTHING
from .amounts import Amounts as Amounts
from .amounts import Ask as Ask
from .windows import DAY_MS as DAY_MS
from .windows import AtOnce as AtOnce
from .windows import Calendar as Calendar
from .windows import Instant as Instant
from .windows import Sliding as Sliding
from .windows import Unit as Unit
from .windows import Window as Window

Measure = Literal["requests", "tokens", "concurrency", "money"]
OnStoreError = Literal["refuse", "allow", "local"]

_PARTS: dict[Measure, int] = {"tokens": 0, "money": 1, "requests": 2, "concurrency": 2}
"""Where `parts` has what a measure counts."""


def parts(amounts: Amounts) -> tuple[int, int, int]:
    """What a request of such amounts takes, by the `part` of a limit: the last counts requests."""
    tokens, cost = amounts
    return tokens, cost, 1


@dataclass(frozen=True, slots=True)
class Limit:
    """
    One limit of one scope: `tenant:<id>`, `project:<id>`, `key:<public id>`, or one of these and
    a model, `<scope>/m:<hash>`.

    Money is nano-dollars. Limits of the same `name` count together, whatever their amounts.
    `on_store_error` is what holds while the store is out of reach, None for the limiter's own
    choice. `part` is where `parts` has what it counts.
    """

    scope: str
    measure: Measure
    amount: int
    window: Window
    on_store_error: OnStoreError | None = None
    name: str = field(init=False, compare=False)
    part: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.window.name}:{self.measure}:{self.scope}")
        object.__setattr__(self, "part", _PARTS[self.measure])

    def __hash__(self) -> int:
        return hash(self.name)  # a string keeps its hash, and limits are looked up twice a request

    def cost(self, amounts: Amounts) -> int:
        """What a request of such amounts takes from it."""
        return parts(amounts)[self.part]

    def grows(self, ask: Ask) -> tuple[int, int]:
        """What a request takes whatever its cap, and what each token of the cap adds."""
        part = self.part
        return (ask.fixed[part], ask.each[part]) if part < len(ask.fixed) else (1, 0)

    def cap_within(self, ask: Ask, room: int) -> int:
        """The highest cap, no higher than was asked for, that fits into `room`; -1 if none does."""
        fixed, each = self.grows(ask)
        if fixed > room:
            return -1
        return min(ask.cap, (room - fixed) // each) if each else ask.cap


ENDLESS = 2**63
"""More than any amount."""

RATES: tuple[Measure, ...] = ("requests", "tokens")
"""Of these clients are told how their limits stand."""


class Limits(tuple[Limit, ...]):  # noqa: SLOT001 - what is known of them needs a place
    """
    All limits of one caller, and what is to be known of them together: found once, asked for with
    each request.

    `most` is what a request may come to so that each of them could hold it, less than nothing
    where one holds no request at all. `rates` has, for each measure of `RATES` that is limited,
    the places of its limits.
    """

    def __init__(self, _: Iterable[Limit] = ()) -> None:
        self.counts_tokens = any(each.measure == "tokens" for each in self)
        self.counts_money = any(each.measure == "money" for each in self)
        self.most = Amounts(self._least(0), self._least(1)) if self._least(2) else Amounts(-1, -1)
        places = {
            measure: tuple(i for i, each in enumerate(self) if each.measure == measure)
            for measure in RATES
        }
        self.rates = tuple((measure, found) for measure, found in places.items() if found)

    @classmethod
    def of(cls, limits: tuple[Limit, ...]) -> Self:
        """The same limits."""
        return limits if isinstance(limits, cls) else cls(limits)

    def _least(self, part: int) -> int:
        """The smallest of the limits that count that part of amounts."""
        return min((each.amount for each in self if each.part == part), default=ENDLESS)


@dataclass(slots=True)
class Standing:
    """What is left of a limit after an admission; `reset` is seconds until it is wholly free."""

    limit: Limit
    remaining: int
    reset: float


@dataclass(slots=True, eq=False)
class Standings:
    """
    How limits stand at one instant: what each has `left`. The rest is found for whoever asks, for
    most of them are told to nobody.
    """

    limits: Limits
    left: Sequence[int]
    at: Instant

    def __len__(self) -> int:
        return len(self.limits)

    def __getitem__(self, index: int) -> Standing:
        limit = self.limits[index]
        return Standing(limit, self.left[index], limit.window.resets_in(self.at) / 1000)

    def __iter__(self) -> Iterator[Standing]:
        return map(self.__getitem__, range(len(self.limits)))


NOT_LIMITED = Standings(Limits(), (), Instant(0, 0))


@dataclass
class Reservation:
    """
    What one request holds, until it is settled: `amounts`, for an answer of `cap` tokens.

    `lost` becomes true, and `on_lost` is called, when a lease could not be held: the holder must
    stop using what the limits protect, and settles as always. `on_lost` must not raise.
    `progress` is asked for what was used so far whenever the lease is renewed: that is what the
    request is charged if its holder dies. Neither may block.

    `note` is what the ledger says of the request then. `admitted` and `charged` are when it was
    admitted and when its windows were charged (ms since 1970), `epoch` tells by which data; all 0
    where no store has seen it. `renewed` is when its lease was last known to be held, in seconds
    of the holder's steady clock.

    What most reservations never have, or have later, is said by the class until then: it costs the
    others nothing.
    """

    request_id: str
    tenant: str
    limits: tuple[Limit, ...]
    amounts: Amounts = NOTHING
    cap: int = 0
    note: bytes = b""
    standings: Standings = field(default=NOT_LIMITED, init=False)
    admitted: int = field(default=0, init=False)
    lost: bool = field(default=False, init=False)
    settled: bool = field(default=False, init=False)
    on_lost: Callable[[], None] | None = field(default=None, init=False)
    progress: Callable[[], Amounts] | None = field(default=None, init=False)
    charged: int = field(default=0, init=False)
    epoch: int = field(default=0, init=False)
    renewed: float = field(default=0.0, init=False)

    def so_far(self) -> Amounts:
        """What the request has used up to now, as far as its holder tells."""
        return NOTHING if self.progress is None else self.progress()

    def lose(self) -> None:
        """Tell the holder, once."""
        if self.lost:
            return
        self.lost = True
        if self.on_lost is not None:
            self.on_lost()
