"""
Limits kept on Redis, for all processes together.

One round trip to reserve and one to settle, however many limits apply. What happens while Redis
is out of reach is the operator's choice; a breaker spares requests the wait for it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Self

from redis.exceptions import RedisError

from ..contract.errors import LimitsUnavailable, RequestExceedsLimit
from ..redis import Redis
from .breaker import Breaker
from .counts import Counts
from .leases import Leases
from .limiter import Books
from .memory import MemoryLimiter
from .model import NOTHING, Amounts, Ask, Limit, Reservation, Standing
from .refusal import LimitReached, check_fits, refusal
from .scripts import Scripts, redis_time
from .settings import LimitsSettings

REFUSED, ENDED = 0, 2
LATE = 2


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
        self.counts = Counts()
        self._books = books or Books()
        self._settings = settings
        self._breaker = Breaker(clock)
        self._scripts = Scripts(
            redis, lease=round(settings.lease * 1000), counts=self.counts, now=now
        )
        self._leases = Leases(
            self._scripts,
            settings,
            breaker=self._breaker,
            clock=clock,
            random=random or Random(),  # noqa: S311 - spreads load, guards nothing
        )
        self._share = MemoryLimiter(counts=self.counts)
        self._elsewhere: dict[str, Reservation | None] = {}

    @property
    def reachable(self) -> bool:
        return not self._breaker.is_open

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
        reservation = Reservation(request_id, tenant, limits, ask.at(cap), cap)
        if not limits and not note:  # nothing to keep
            self._elsewhere[request_id] = None
            return reservation
        if self._breaker.is_open:
            return await self._without_store(reservation, ask)
        try:
            answer = await self._scripts.reserve(reservation, ask, cap, note)
        except RedisError as error:
            self._leases.repeat_later(reservation, "C", NOTHING)
            self._leases.failed(error)
            return await self._without_store(reservation, ask)
        except asyncio.CancelledError:
            self._leases.repeat_later(reservation, "C", NOTHING)
            raise
        self._admit(reservation, ask, answer)
        return reservation

    async def extend(self, reservation: Reservation, amounts: Amounts) -> None:
        amounts = Amounts(*map(max, amounts, reservation.amounts))
        check_fits(reservation.limits, Ask(amounts), self.counts)
        share = self._elsewhere.get(reservation.request_id)
        if share is not None:
            await self._share.extend(share, amounts)
        elif reservation.request_id not in self._elsewhere:
            await self._extend(reservation, amounts)
        reservation.amounts = amounts

    async def settle(self, reservation: Reservation, used: Amounts, *, entry: bytes = b"") -> None:
        if reservation.settled:
            return
        reservation.settled = True
        if reservation.request_id in self._elsewhere:
            await self._settle_elsewhere(reservation, used, entry)
            return
        held = reservation.amounts
        self.counts.overshot(used.tokens - held.tokens, used.cost - held.cost)
        self._leases.release(reservation)
        if self._breaker.is_open:
            self._leases.repeat_later(reservation, "S", used, entry)
            return
        try:
            how = await self._scripts.settle(reservation, "S", used, entry)
        except RedisError as error:
            self._leases.repeat_later(reservation, "S", used, entry)
            self._leases.failed(error)
        except asyncio.CancelledError:
            self._leases.repeat_later(reservation, "S", used, entry)
            raise
        else:
            self.counts.late += how == LATE

    async def _settle_elsewhere(
        self, reservation: Reservation, used: Amounts, entry: bytes
    ) -> None:
        share = self._elsewhere.pop(reservation.request_id)
        if entry:
            self._books.outbox(entry)
        if share is not None:
            await self._share.settle(share, used)

    async def standings(self, tenant: str, limits: tuple[Limit, ...]) -> tuple[Standing, ...]:
        if not limits:
            return ()
        if self._breaker.is_open:
            raise self._unavailable()
        try:
            now, *used = await self._scripts.standings(tenant, limits)
        except RedisError as error:
            self._leases.failed(error)
            raise self._unavailable() from error
        return _standings(limits, used, now)

    async def open(self) -> None:
        await self._leases.open()

    async def aclose(self) -> None:
        await self._leases.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def _admit(self, reservation: Reservation, ask: Ask, answer: list[int]) -> None:
        how, now, *rest = answer
        if how == ENDED:
            raise ValueError(f"request id {reservation.request_id!r} has ended already")
        if how == REFUSED:
            raise self._refusal(reservation.limits, now, rest)
        reservation.cap, *used = rest
        reservation.amounts = ask.at(reservation.cap)
        reservation.standings = _standings(reservation.limits, used, now)
        self.counts.admitted += 1
        self.counts.lowered += reservation.cap < ask.cap
        self._leases.hold(reservation)

    async def _extend(self, reservation: Reservation, amounts: Amounts) -> None:
        if self._breaker.is_open:
            raise self._unavailable()
        try:
            how, now, *rest = await self._scripts.extend(reservation, amounts)
        except RedisError as error:
            self._leases.failed(error)
            raise self._unavailable() from error
        if how == ENDED:
            reservation.lose()
            raise LimitsUnavailable("The reservation has ended.")
        if how == REFUSED:
            raise self._refusal(reservation.limits, now, rest)

    def _refusal(self, limits: tuple[Limit, ...], now: int, answer: list[int]) -> LimitReached:
        index, wait, *used = answer
        self.counts.refused(limits[index - 1].measure)
        return refusal(limits[index - 1], wait, _standings(limits, used, now))

    async def _without_store(self, reservation: Reservation, ask: Ask) -> Reservation:
        match self._settings.on_store_error:
            case "allow":
                self.counts.allowed_unseen += 1
                self._elsewhere[reservation.request_id] = None
            case "local":
                await self._take_share(reservation, ask)
            case "refuse":
                raise self._unavailable()
        return reservation

    async def _take_share(self, reservation: Reservation, ask: Ask) -> None:
        parts = self._settings.max_replicas
        limits = tuple(replace(limit, amount=limit.amount // parts) for limit in reservation.limits)
        try:
            share = await self._share.reserve(
                reservation.request_id, reservation.tenant, limits, ask
            )
        except RequestExceedsLimit:
            # What fits the limit but not our share of it is no fault of the request.
            raise self._unavailable() from None
        self.counts.held_locally += 1
        self._elsewhere[reservation.request_id] = share
        reservation.standings = share.standings
        reservation.amounts, reservation.cap = share.amounts, share.cap

    def _unavailable(self) -> LimitsUnavailable:
        self.counts.unavailable += 1
        return LimitsUnavailable("Limits can not be checked at the moment.", retry_after=1.0)


def _standings(limits: tuple[Limit, ...], used: list[int], now: int) -> tuple[Standing, ...]:
    return tuple(
        Standing(limit, max(0, limit.amount - each), limit.window.resets_in(now) / 1000)
        for limit, each in zip(limits, used, strict=True)
    )
