"""
Limits kept in this process.

Admission and settlement are one synchronous step each, so nothing can come between the check
and the taking. Counters that are not in use are dropped: memory is bounded by the callers active
within a window.

Hot: `reserve` and `settle` run once a request. The counters of a caller are looked up once and
remembered by the identity of its limits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self, SupportsBytes

from ..contract.errors import LimitsUnavailable, StoreUnavailable
from .counters import Counter, Instant, PeriodCounter, counter_of
from .counts import Counts
from .limiter import Books
from .model import Amounts, Ask, Calendar, Limit, Reservation, Standing, parts
from .refusal import check_fits, refusal
from .seeds import Seeds

AHEAD = 60_000
"""Milliseconds that a clock may step back and be held still; a longer step is believed."""

OFTEN = 1024
"""Admissions between two searches for unused counters, at least."""

REMEMBERED = 32_768
"""Callers whose counters are remembered; beyond that all are looked up anew, which costs little."""


def steady_ms() -> int:
    """A clock that no one sets."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class _Bound(NamedTuple):
    """Limits with their counters, and those of calendar periods once more."""

    limits: tuple[Limit, ...]
    pairs: tuple[tuple[Limit, Counter], ...]
    periods: tuple[tuple[Limit, PeriodCounter], ...]

    def is_in_use(self, now: Instant) -> bool:
        """Whether forgetting one of its counters would change an answer."""
        return not all(counter.is_idle(now) for _, counter in self.pairs)


@dataclass(slots=True)
class _Open:
    """What is reserved, and where each limit was charged."""

    amounts: Amounts
    cap: int
    at: list[int]


class MemoryLimiter:
    """
    A limiter for one process. `clock` and `wall` are milliseconds; neither needs to be steady.

    It promises of one process what `gateway.limits.redis` promises of all. What a period had used
    before this process began is asked of the ledger, so that a restart gives no money away; where
    the ledger can not be asked, limits whose policy is `local` or `allow` go on without. Windows
    begin empty: across a restart one may hold twice its limit. What was open when the process
    died is charged to nobody.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = steady_ms,
        wall: Callable[[], int] = wall_ms,
        counts: Counts | None = None,
        books: Books | None = None,
    ) -> None:
        self.counts = Counts() if counts is None else counts
        self._books = books or Books()
        self._seeds = Seeds(self._books.spent)
        self._began = wall()
        self._clock = clock
        self._wall = wall
        self._last = Instant(0, 0)
        self._counters: dict[tuple[str, str], Counter] = {}
        self._bound: dict[tuple[str, int], _Bound] = {}
        self._open: dict[str, _Open] = {}
        self._until_search = OFTEN

    @property
    def keeps_notes(self) -> bool:
        return False

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
        cap = check_fits(limits, ask, self.counts)
        amounts = ask.at(cap)
        now, bound = self._now(), self._counters_of(tenant, limits)
        if not self._has_room(now, bound, amounts):
            now, bound = await self._look(tenant, limits)
            if request_id not in self._open:
                cap = self._fitting(now, bound, ask, cap)
                amounts = ask.at(cap)
        held = self._open.get(request_id)
        if held is None:
            self.counts.admitted += 1
            self.counts.lowered += cap < ask.cap
            held = self._open[request_id] = _take(now, bound, amounts, cap)
        return Reservation(
            request_id,
            tenant,
            limits,
            held.amounts,
            held.cap,
            _standings(now, bound),
            admitted=now.wall,
        )

    async def extend(self, reservation: Reservation, amounts: Amounts) -> None:
        held = self._open.get(reservation.request_id)
        if held is None:
            reservation.lose()
            raise LimitsUnavailable("The reservation has ended.")
        amounts = Amounts(*map(max, amounts, held.amounts))
        check_fits(reservation.limits, Ask(amounts), self.counts)
        now, bound = self._now(), self._counters_of(reservation.tenant, reservation.limits)
        costs = [(limit.cost(held.amounts), limit.cost(amounts)) for limit in bound.limits]
        refused, longest = None, -1
        for (limit, counter), at, (old, new) in zip(bound.pairs, held.at, costs, strict=True):
            excess = counter.beside(now, at, old) + new - limit.amount
            if new > old and excess > 0 and (wait := counter.wait(now, excess)) > longest:
                refused, longest = limit, wait
        if refused is not None:
            self.counts.refused(refused.measure)
            raise refusal(refused, longest, _standings(now, bound))
        held.at = [
            counter.extend(now, at, old, new) if new > old else at
            for (_, counter), at, (old, new) in zip(bound.pairs, held.at, costs, strict=True)
        ]
        held.amounts = reservation.amounts = amounts

    async def settle(
        self, reservation: Reservation, used: Amounts, *, entry: SupportsBytes | None = None
    ) -> None:
        reservation.settled = True
        held = self._open.pop(reservation.request_id, None)
        if held is None:
            return
        self.counts.overshot(used.tokens - held.amounts.tokens, used.cost - held.amounts.cost)
        self._give_back(reservation, held, parts(used))
        if entry is not None:
            self._books.outbox(entry)

    async def cancel(self, reservation: Reservation) -> None:
        reservation.settled = True
        held = self._open.pop(reservation.request_id, None)
        if held is None:
            return
        self._give_back(reservation, held, (0, 0, 0))

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> tuple[Standing, ...]:
        now, bound = await self._look(tenant, limits)
        return _standings(now, bound)

    async def open(self) -> None:
        """Nothing to begin: no lease can outlive this process."""

    async def aclose(self) -> None:
        await self._seeds.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def _has_room(self, now: Instant, bound: _Bound, amounts: Amounts) -> bool:
        """Whether so much can be taken at once: no cap to lower, nobody to ask, nothing refused."""
        if bound.periods and self._unseeded(now, bound):
            return False
        taken = parts(amounts)
        for limit, counter in bound.pairs:
            if counter.used(now) + taken[limit.part] > limit.amount:
                return False
        return True

    def _give_back(self, reservation: Reservation, held: _Open, used: tuple[int, int, int]) -> None:
        now, bound = self._now(), self._counters_of(reservation.tenant, reservation.limits)
        reserved = parts(held.amounts)
        for (limit, counter), at in zip(bound.pairs, held.at, strict=True):
            counter.settle(now, at, reserved[limit.part], used[limit.part])

    async def _look(self, tenant: str, limits: tuple[Limit, ...]) -> tuple[Instant, _Bound]:
        """The counters, each knowing its past; nothing is awaited after they were looked up."""
        now, bound = self._now(), self._counters_of(tenant, limits)
        while fresh := self._unseeded(now, bound):
            is_known = await self._seed(now, tenant, fresh)
            now, bound = self._now(), self._counters_of(tenant, limits)  # others came and went
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
        most = ask.at(cap)
        lowest, refused, longest = cap, None, -1
        for limit, counter in bound.pairs:
            room = limit.amount - counter.used(now)
            excess = limit.cost(most) - room
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
            raise refusal(refused, longest, _standings(now, bound))
        return lowest

    def _counters_of(self, tenant: str, limits: tuple[Limit, ...]) -> _Bound:
        key = (tenant, id(limits))  # theirs alone while they are remembered
        bound = self._bound.get(key)
        if bound is None:
            if len(self._bound) >= REMEMBERED:
                self._bound.clear()
            pairs = tuple((limit, self._counter(tenant, limit)) for limit in limits)
            periods = tuple((x, counter) for x, counter in pairs if type(counter) is PeriodCounter)
            bound = self._bound[key] = _Bound(limits, pairs, periods)
        return bound

    def _counter(self, tenant: str, limit: Limit) -> Counter:
        key = (tenant, limit.name)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = counter_of(limit)
        return counter

    def _now(self) -> Instant:
        steady, wall, now = self._clock(), self._wall(), self._last
        if steady != now.steady or wall != now.wall:
            now = self._last = self._after(now, steady, wall)
        self._until_search -= 1
        if self._until_search <= 0:
            self._forget_idle(now)
        return now

    def _after(self, last: Instant, steady: int, wall: int) -> Instant:
        """What counts as now, if clocks say so: one may have run backwards."""
        if last.steady > steady + AHEAD or last.wall > wall + AHEAD:
            self.counts.clock_resets += 1
        return Instant(_held(steady, last.steady), _held(wall, last.wall))

    def _forget_idle(self, now: Instant) -> None:
        """Drop callers none of whose counters is in use, and then the counters of no caller."""
        self._bound = {key: each for key, each in self._bound.items() if each.is_in_use(now)}
        kept = {counter for each in self._bound.values() for _, counter in each.pairs}
        for key, counter in list(self._counters.items()):
            if counter not in kept and counter.is_idle(now):
                del self._counters[key]
        self._until_search = max(OFTEN, len(self._counters))


def _held(now: int, last: int) -> int:
    """The clock that never runs backwards, unless it had run far ahead."""
    return now if last > now + AHEAD else max(now, last)


def _take(now: Instant, bound: _Bound, amounts: Amounts, cap: int) -> _Open:
    taken = parts(amounts)
    return _Open(
        amounts, cap, [counter.take(now, taken[limit.part]) for limit, counter in bound.pairs]
    )


def _standings(now: Instant, bound: _Bound) -> tuple[Standing, ...]:
    standings = []
    for limit, counter in bound.pairs:
        left = limit.amount - counter.used(now)
        standings.append(Standing(limit, max(0, left), counter.resets_in(now) / 1000))
    return tuple(standings)
