"""
Limits kept on Redis, for all processes together.

One round trip to reserve and one to settle, however many limits apply; a counter whose past only
the ledger knows, a refusal beside which leases have ended, and data that were lost cost further
ones. What is promised (L is a limit's amount, W its length, C a number of places):

- Window (Q1). Any interval of length W, by Redis's clock, holds no more than L of what was
  admitted in it. What `extend` adds counts from when it was added. What an upstream used beyond
  its reservation counts from when it was settled; it may pass L, and is counted.
- Budget (Q2). At every admission, what a period has settled and reserved is at most L. A dead
  request is charged what it was last heard to have used; if it settles after all, the truth.
- Places (Q3). At most C are taken. A holder whose lease has ended is told to stop.
- A refused request has changed no counter (Q4). Whatever was reserved is charged or given back
  (Q5), once (Q6), and the row that says so is written with the charge: both or neither (Q7, Q8).
- Who waits as long as a window told is admitted, if nobody else came (Q9); of a budget it is the
  end of its period, of places a guess. Of each window n/(n+1) can be used (Q12).

What is lost when something dies:

- A process: nothing. What it held is free again within a lease and a sweep (Q10), or when a
  request would be refused for its sake; windows age out. Its requests are charged what they had
  used at the last heartbeat, a third of a lease ago at most, and a provisional row says so.
- Redis with its data: periods begin with what the ledger says, and each process puts back what
  it has in windows and what it has open. For two sweeps the policy for an outage holds, so that
  all have done so; what processes had admitted that died meanwhile, or stood still, is missing
  from the windows for one W.
- Redis that falls back to an older state (a replica that lagged): what was admitted since.
- The way to Redis: what holds meanwhile is each limit's own policy (`away`). Settlements wait in
  this process until Redis answers, and their rows go to the ledger by its outbox; if the process
  dies too, the charge is lost and the row is not.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import date
from random import Random
from typing import Self, SupportsBytes

from redis.exceptions import RedisError

from ..contract.errors import LimitsUnavailable, StoreUnavailable
from ..redis import Redis
from .away import Away
from .contact import Contact
from .counts import Counts
from .holdings import Holdings
from .leases import Leases
from .limiter import Books
from .memory import wall_ms
from .model import (
    NOT_LIMITED,
    NOTHING,
    Amounts,
    Ask,
    Calendar,
    Instant,
    Limit,
    Limits,
    Reservation,
    Standings,
)
from .refusal import LimitReached, check_fits, refusal
from .scripts import (
    BEHIND,
    ENDED,
    QUIET,
    REFUSED,
    STRANGE,
    TAKEN,
    UNSEEDED,
    Answer,
    Ending,
    Scripts,
    Seed,
    found,
    redis_time,
    seeds_for,
)
from .seeds import Seeds
from .settings import LimitsSettings
from .unfinished import Unfinished

TRIES = 8
"""Times that one request may reserve: the ledger, a recovery and a reaping may come between."""


class RedisLimiter:
    """
    A limiter for many processes. It does not close `redis`.

    `clock` is in seconds and steady; `now` is the scripts' clock in milliseconds since 1970, 0
    for Redis's own.
    """

    def __init__(
        self,
        redis: Redis,
        settings: LimitsSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = redis_time,
        random: Random | None = None,
        books: Books | None = None,
    ) -> None:
        books = books or Books()
        self.counts = Counts()
        self._books = books
        self._now = now
        self._seeds = Seeds(books.spent, self._pending)
        self._scripts = Scripts(
            redis, settings, counts=self.counts, now=now, seeded=self._seeds.wanted
        )
        self._contact = Contact(redis, self.counts, clock)
        self._unfinished = Unfinished(self._scripts, self._contact, self._seeds, books, self._wall)
        self._holdings = Holdings(self._scripts)
        self._leases = Leases(
            self._scripts,
            self._contact,
            self._holdings,
            self._unfinished,
            settings,
            random or Random(),  # noqa: S311 - spreads load, guards nothing
        )
        self._away = Away(settings, self.counts)

    @property
    def keeps_notes(self) -> bool:
        return True

    @property
    def reachable(self) -> bool:
        return not self._contact.is_open

    @property
    def evicts(self) -> str:
        return self._contact.eviction.policy

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
        reservation = Reservation(request_id, tenant, limits, ask.at(cap), cap, note=note)
        if not limits and not note:
            return self._away.unlimited(reservation)
        if self._unfinished.is_full:
            raise self._behind()
        if self._contact.is_open:
            return await self._without_store(reservation, ask)
        try:
            answer = await self._taken(reservation, ask, cap)
        except StoreUnavailable as error:
            self._contact.failed(error)
            return await self._without_store(reservation, ask)
        except RedisError as error:
            self._unfinished.later(Ending(reservation, "C", NOTHING))
            self._contact.failed(error)
            return await self._without_store(reservation, ask)
        except asyncio.CancelledError:
            self._unfinished.later(Ending(reservation, "C", NOTHING))
            raise
        if answer.how == QUIET:
            return await self._without_store(reservation, ask)
        self._admit(reservation, ask, answer)
        return reservation

    async def extend(self, reservation: Reservation, amounts: Amounts) -> None:
        amounts = Amounts(*map(max, amounts, reservation.amounts))
        check_fits(reservation.limits, Ask(amounts), self.counts)
        if self._away.has(reservation):
            await self._away.extend(reservation, amounts)
        elif self._contact.is_open:
            self._away.extend_unseen(reservation, amounts)
        else:
            try:
                answer = await self._raised(reservation, amounts)
            except (RedisError, StoreUnavailable) as error:
                self._contact.failed(error)
                self._away.extend_unseen(reservation, amounts)
            else:
                self._extended(reservation, amounts, answer)

    async def settle(
        self, reservation: Reservation, used: Amounts, *, entry: SupportsBytes | None = None
    ) -> None:
        if reservation.settled:
            return
        reservation.settled = True
        ending = Ending(reservation, "S", used, entry)
        if self._away.has(reservation):
            await self._away.release(reservation, used)
            self._settle_afterwards(ending)
            return
        held = reservation.amounts
        self.counts.overshot(used.tokens - held.tokens, used.cost - held.cost)
        self._holdings.settled(reservation, used)
        await self._unfinished.end(ending)

    async def cancel(self, reservation: Reservation) -> None:
        if reservation.settled:
            return
        reservation.settled = True
        if self._away.has(reservation):
            await self._away.cancel(reservation)
            return
        self._holdings.settled(reservation, NOTHING)
        await self._unfinished.end(Ending(reservation, "C", NOTHING))

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> Standings:
        if not limits:
            return NOT_LIMITED
        if self._contact.is_open:
            raise self._away.unavailable()
        try:
            now, *used = await self._scripts.standings(tenant, limits)
            for i, each in enumerate(used):
                if each < 0:
                    (spent,) = await self._seeds.of(tenant, limits[i : i + 1], now)
                    used[i] = spent - 1 - each
        except (RedisError, StoreUnavailable) as error:
            self._contact.failed(error)
            raise self._away.unavailable() from error
        return _standings(limits, used, now)

    async def open(self) -> None:
        await self._leases.open()

    async def aclose(self) -> None:
        await self._leases.aclose()
        await self._seeds.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    async def _taken(self, reservation: Reservation, ask: Ask, cap: int) -> Answer:
        """The answer to a reservation, after whatever had to be done before there was one."""
        seeds: list[Seed] = []
        reaped = False
        for _ in range(TRIES):
            answer = await self._scripts.reserve(reservation, ask, cap, seeds)
            if answer.how == TAKEN:
                return answer
            shard = self._scripts.shard(reservation)
            if answer.how == UNSEEDED:
                seeds += await seeds_for(reservation, answer, self._seeds)
            elif answer.how == STRANGE:
                await self._holdings.recover(shard, answer.epoch)
            elif answer.how == REFUSED and answer.rest[2] and not reaped:
                reaped = True  # once: there may be more of them than a request should wait for
                await self._leases.expire((shard, *each) for each in found(answer.rest[2]))
            else:
                return answer
        raise self._away.unavailable()

    async def _raised(self, reservation: Reservation, amounts: Amounts) -> Answer:
        answer = await self._scripts.extend(reservation, amounts)
        if answer.how == UNSEEDED:
            seeds = await seeds_for(reservation, answer, self._seeds)
            answer = await self._scripts.extend(reservation, amounts, seeds)
        return answer

    def _admit(self, reservation: Reservation, ask: Ask, answer: Answer) -> None:
        if answer.how == ENDED:
            raise ValueError(f"request id {reservation.request_id!r} has ended already")
        if answer.how == BEHIND:
            raise self._behind()
        if answer.how == REFUSED:
            index, wait, _, *used = answer.rest
            raise self._refusal(reservation.limits, answer.now, index, wait, used)
        reservation.cap, *used = answer.rest
        if reservation.cap < ask.cap:
            self.counts.lowered += 1
            reservation.amounts = ask.at(reservation.cap)
        reservation.standings = _standings(reservation.limits, used, answer.now)
        reservation.admitted = reservation.charged = answer.now
        reservation.epoch = answer.epoch
        reservation.renewed = self._contact.clock()
        self.counts.admitted += 1
        self._holdings.took(reservation)

    def _extended(self, reservation: Reservation, amounts: Amounts, answer: Answer) -> None:
        if answer.how == ENDED:
            self._holdings.lost(reservation)
            raise LimitsUnavailable("The reservation has ended.")
        if answer.how == REFUSED:
            index, wait, *used = answer.rest
            raise self._refusal(reservation.limits, answer.now, index, wait, used)
        self._holdings.extended(reservation, amounts, answer.now)

    async def _without_store(self, reservation: Reservation, ask: Ask) -> Reservation:
        await self._away.take(reservation, ask)
        reservation.admitted = self._wall()
        return reservation

    def _settle_afterwards(self, ending: Ending) -> None:
        """Charge to the store what it has not admitted, if anything there will remember it."""
        if any(limit.window.kind == Calendar.kind for limit in ending.reservation.limits):
            self._unfinished.later(ending)
        elif ending.entry is not None:
            self._books.outbox(ending.entry)

    def _refusal(
        self, limits: tuple[Limit, ...], now: int, index: int, wait: int, used: list[int]
    ) -> LimitReached:
        limit = limits[index - 1]
        self.counts.refused(limit.measure)
        return refusal(limit, wait, _standings(limits, used, now))

    def _behind(self) -> LimitsUnavailable:
        self.counts.behind += 1
        return LimitsUnavailable("Usage can not be recorded at the moment.", retry_after=1.0)

    def _pending(self, tenant: str, limit: Limit, start: date, epoch: int) -> int:
        return self._unfinished.pending(tenant, limit, start, epoch)

    def _wall(self) -> int:
        return self._now() or wall_ms()


def _standings(limits: tuple[Limit, ...], used: list[int], now: int) -> Standings:
    left = [max(0, limit.amount - each) for limit, each in zip(limits, used, strict=True)]
    return Standings(Limits.of(limits), left, Instant(now, now))
