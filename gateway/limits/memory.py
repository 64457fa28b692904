"""
Limits kept in this process.

Admission and settlement are one synchronous step each, so nothing can come between the check
and the taking. Counters that are not in use are dropped: memory is bounded by the callers active
within a window.

Hot: `reserve` and `settle` run once a request. The counters of a caller are looked up once and
remembered by the identity of its limits; a reservation holds on to those that it is charged to.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, SupportsBytes

from ..contract.errors import LimitsUnavailable, StoreUnavailable
from .counters import Counter, PeriodCounter, counter_of
from .counts import Counts
from .limiter import Books
from .model import Amounts, Ask, Calendar, Instant, Limit, Limits, Reservation, Standings
from .refusal import check_fits, refusal
from .seeds import Seeds

AHEAD = 60_000
"""Milliseconds that a clock may step back and be held still; a longer step is believed."""

OFTEN = 1024
"""Callers that come anew between two searches for unused counters, at least."""

REMEMBERED = 32_768
"""Callers whose counters are remembered; beyond that all are looked up anew, which costs little."""


MS = 1_000_000
"""Nanoseconds in a millisecond."""


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // MS


@dataclass(frozen=True, slots=True)
class _Bound:
    """
    Limits with their counters. `charges` has of each the counter, the part of amounts that it
    counts (tokens, money, one request) and the most that it may hold; `periods` those of calendar
    periods once more. `given` is kept because it is known by its identity.
    """

    given: tuple[Limit, ...]
    limits: Limits
    charges: tuple[tuple[Counter, int, int], ...]
    periods: tuple[tuple[Limit, PeriodCounter], ...]

    @classmethod
    def of(cls, limits: tuple[Limit, ...], counters: list[Counter]) -> Self:
        pairs = list(zip(limits, counters, strict=True))
        return cls(
            limits,
            Limits.of(limits),
            tuple((counter, limit.part, limit.amount) for limit, counter in pairs),
            tuple((limit, each) for limit, each in pairs if type(each) is PeriodCounter),
        )

    def is_in_use(self, now: Instant) -> bool:
        """Whether forgetting one of its counters would change an answer."""
        return not all(counter.is_idle(now) for counter, _, _ in self.charges)

    def left(self, now: Instant) -> list[int]:
        """What each limit has left."""
        return [max(0, most - counter.used(now)) for counter, _, most in self.charges]


@dataclass
class _Held(Reservation):
    """With its counters, and where each was charged."""

    bound: _Bound = field(init=False)
    at: list[int] = field(init=False)


class MemoryLimiter:
    """
    A limiter for one process. `clock` and `wall`, since 1970, are nanoseconds; neither needs to be
    steady.

    It promises of one process what `gateway.limits.redis` promises of all. What a period had used
    before this process began is asked of the ledger, so that a restart gives no money away; where
    the ledger can not be asked, limits whose policy is `local` or `allow` go on without. Windows
    begin empty: across a restart one may hold twice its limit. What was open when the process
    died is charged to nobody.
    """

    keeps_notes = False

    def __init__(
        self,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
        counts: Counts | None = None,
        books: Books | None = None,
    ) -> None:
        self.counts = Counts() if counts is None else counts
        self._books = books or Books()
        self._seeds = Seeds(self._books.spent)
        self._began = wall() // MS
        self._clock = clock
        self._wall = wall
        self._last = Instant(0, 0)
        self._counters: dict[tuple[str, str], Counter] = {}
        self._bound: dict[tuple[str, int], _Bound] = {}
        self._open: dict[str, _Held] = {}
        self._until_search = OFTEN

    @property
    def reachable(self) -> bool:
        """Always: it is this process."""
        return True

    @property
    def evicts(self) -> str:
        """It does not."""
        return ""

    async def reserve(
        self,
        request_id: str,
        tenant: str,
        limits: tuple[Limit, ...],
        ask: Ask,
        *,
        note: bytes = b"",
    ) -> Reservation:
        held = _Held(request_id, tenant, limits, ask.at(ask.cap), ask.cap, note)
        held.bound = bound = self._bound_of(tenant, limits)
        (tokens, cost), most = held.amounts, bound.limits.most
        if tokens <= most.tokens and cost <= most.cost and request_id not in self._open:
            now = self._now()
            if not (bound.periods and self._unseeded(now, bound)) and self._takes(now, held):
                return held
        return await self._reserve_at_length(held, ask)

    async def extend(self, reservation: Reservation, amounts: Amounts) -> None:
        held = self._open.get(reservation.request_id)
        if held is None:
            reservation.lose()
            raise LimitsUnavailable("The reservation has ended.")
        amounts = Amounts(*map(max, amounts, held.amounts))
        check_fits(reservation.limits, Ask(amounts), self.counts)
        now, bound = self._now(), held.bound
        before, after = (*held.amounts, 1), (*amounts, 1)
        refused, longest = None, -1
        for i, (counter, part, most) in enumerate(bound.charges):
            old, new = before[part], after[part]
            excess = counter.beside(now, held.at[i], old) + new - most
            if new > old and excess > 0 and (wait := counter.wait(now, excess)) > longest:
                refused, longest = bound.limits[i], wait
        if refused is not None:
            self.counts.refused(refused.measure)
            raise refusal(refused, longest, Standings(bound.limits, bound.left(now), now))
        held.at = [
            counter.extend(now, at, before[part], after[part]) if after[part] > before[part] else at
            for (counter, part, _), at in zip(bound.charges, held.at, strict=True)
        ]
        held.amounts = reservation.amounts = amounts

    async def settle(
        self, reservation: Reservation, used: Amounts, *, entry: SupportsBytes | None = None
    ) -> None:
        reservation.settled = True
        held = self._open.pop(reservation.request_id, None)
        if held is None:
            return
        tokens, cost = held.amounts
        if used.tokens > tokens or used.cost > cost:
            self.counts.overshot(used.tokens - tokens, used.cost - cost)
        self._give_back(held, (*used, 1))
        if entry is not None:
            self._books.outbox(entry)

    async def cancel(self, reservation: Reservation) -> None:
        reservation.settled = True
        held = self._open.pop(reservation.request_id, None)
        if held is None:
            return
        self._give_back(held, (0, 0, 0))

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> Standings:
        now, bound = await self._look(tenant, limits)
        return Standings(bound.limits, bound.left(now), now)

    async def open(self) -> None:
        """Nothing to begin: no lease can outlive this process."""

    async def aclose(self) -> None:
        await self._seeds.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def _takes(self, now: Instant, held: _Held) -> bool:
        """Whether every limit has room for its amounts: then they are taken."""
        bound, taken = held.bound, (*held.amounts, 1)
        left = [most - counter.used(now) - taken[part] for counter, part, most in bound.charges]
        if left and min(left) < 0:
            return False
        held.at = [counter.take(now, taken[part]) for counter, part, _ in bound.charges]
        held.standings = Standings(bound.limits, left, now)
        held.admitted = now.wall
        self._open[held.request_id] = held
        self.counts.admitted += 1
        return True

    async def _reserve_at_length(self, held: _Held, ask: Ask) -> Reservation:
        """Where it must be refused, its cap lowered, the ledger asked or it was reserved before."""
        cap = check_fits(held.limits, ask, self.counts)
        now, bound = await self._look(held.tenant, held.limits)
        held.bound = bound
        if (first := self._open.get(held.request_id)) is not None:
            held.amounts, held.cap, held.admitted = first.amounts, first.cap, now.wall
            held.standings = Standings(bound.limits, bound.left(now), now)
            return held
        held.cap = self._fitting(now, bound, ask, cap)
        held.amounts = ask.at(held.cap)
        took = self._takes(now, held)
        assert took, "so much fits"
        self.counts.lowered += held.cap < ask.cap
        return held

    def _give_back(self, held: _Held, used: tuple[int, int, int]) -> None:
        now, reserved = self._now(), (*held.amounts, 1)
        for (counter, part, _), at in zip(held.bound.charges, held.at, strict=True):
            counter.settle(now, at, reserved[part], used[part])

    async def _look(self, tenant: str, limits: tuple[Limit, ...]) -> tuple[Instant, _Bound]:
        """The counters, each knowing its past; nothing is awaited after they were looked up."""
        now, bound = self._now(), self._bound_of(tenant, limits)
        while fresh := self._unseeded(now, bound):
            is_known = await self._seed(now, tenant, fresh)
            now, bound = self._now(), self._bound_of(tenant, limits)  # others came and went
            if not is_known:
                for _, counter in self._unseeded(now, bound):
                    counter.guess(now)
                break
        return now, bound

    def _unseeded(self, now: Instant, bound: _Bound) -> list[tuple[Limit, PeriodCounter]]:
        if not self._seeds.wanted:
            return []
        return [each for each in bound.periods if each[1].is_unseeded(now, self._began)]

    async def _seed(
        self, now: Instant, tenant: str, fresh: list[tuple[Limit, PeriodCounter]]
    ) -> bool:
        """Whether the ledger has told what was used; where it could not, nobody minds."""
        before = [counter.settled(now) for _, counter in fresh]
        try:
            spent = await self._seeds.of(tenant, [limit for limit, _ in fresh], now.wall)
        except StoreUnavailable:
            self.counts.unseeded += 1
            if any(limit.on_store_error in {None, "refuse"} for limit, _ in fresh):
                self.counts.unavailable += 1
                raise LimitsUnavailable(
                    "Limits can not be checked at the moment.", retry_after=1.0
                ) from None
            return False
        for (_, counter), settled, known in zip(fresh, spent, before, strict=True):
            if counter.is_unseeded(now, self._began):  # nobody was faster
                # What was settled meanwhile the ledger may not have told: rather twice than never.
                counter.seed(now, settled + counter.settled(now) - known)
        return True

    def _fitting(self, now: Instant, bound: _Bound, ask: Ask, cap: int) -> int:
        """The highest cap that all limits have room for now."""
        most = (*ask.at(cap), 1)
        lowest, refused, longest = cap, None, -1
        for limit, (counter, part, amount) in zip(bound.limits, bound.charges, strict=True):
            room = amount - counter.used(now)
            excess = most[part] - room
            if excess <= 0:
                continue
            if limit.window.kind == Calendar.kind:
                within = limit.cap_within(ask, room)
                if within >= ask.least:
                    lowest = min(lowest, within)
                    continue
            if (wait := counter.wait(now, excess)) > longest:
                refused, longest = limit, wait
        if refused is not None:
            self.counts.refused(refused.measure)
            raise refusal(refused, longest, Standings(bound.limits, bound.left(now), now))
        return lowest

    def _bound_of(self, tenant: str, limits: tuple[Limit, ...]) -> _Bound:
        key = (tenant, id(limits))  # theirs alone while they are remembered
        bound = self._bound.get(key)
        if bound is None:
            self._make_room()
            counters = [self._counter(tenant, limit) for limit in limits]
            bound = self._bound[key] = _Bound.of(limits, counters)
        return bound

    def _counter(self, tenant: str, limit: Limit) -> Counter:
        key = (tenant, limit.name)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = counter_of(limit)
        return counter

    def _now(self) -> Instant:
        steady, wall, last = self._clock() // MS, self._wall() // MS, self._last
        if steady < last.steady or wall < last.wall:
            steady, wall = self._held_still(steady, wall)
        elif steady == last.steady and wall == last.wall:
            return last
        now = self._last = Instant(steady, wall)
        return now

    def _held_still(self, steady: int, wall: int) -> tuple[int, int]:
        """What counts as now where a clock has run backwards."""
        last = self._last
        if last.steady > steady + AHEAD or last.wall > wall + AHEAD:
            self.counts.clock_resets += 1
        return _held(steady, last.steady), _held(wall, last.wall)

    def _make_room(self) -> None:
        """For a caller that comes anew: now and then, forget those who were long not here."""
        if len(self._bound) >= REMEMBERED:
            self._bound.clear()
        self._until_search -= 1
        if self._until_search <= 0:
            self._forget_idle(self._last)

    def _forget_idle(self, now: Instant) -> None:
        """Drop callers none of whose counters is in use, and then the counters of no caller."""
        self._bound = {key: each for key, each in self._bound.items() if each.is_in_use(now)}
        bounds = [*self._bound.values(), *(each.bound for each in self._open.values())]
        kept = {counter for bound in bounds for counter, _, _ in bound.charges}
        for key, counter in list(self._counters.items()):
            if counter not in kept and counter.is_idle(now):
                del self._counters[key]
        self._until_search = max(OFTEN, len(self._counters))


def _held(now: int, last: int) -> int:
    """The clock that never runs backwards, unless it had run far ahead."""
    return now if last > now + AHEAD else max(now, last)
