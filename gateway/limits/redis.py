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

from ..contract.errors import LimitsUnavailable
from ..redis import Redis
from .breaker import Breaker
from .leases import Leases
from .memory import MemoryLimiter
from .model import Counts, Limit, LimitReached, Reservation, Standing, check_fits
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
    ) -> None:
        self.counts = Counts()
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
        self, request_id: str, tenant: str, limits: tuple[Limit, ...], *, tokens: int
    ) -> Reservation:
        check_fits(limits, tokens, self.counts)
        reservation = Reservation(request_id, tenant, limits, tokens)
        if not limits:
            return reservation
        if self._breaker.is_open:
            return await self._without_store(reservation)
        try:
            answer = await self._scripts.reserve(request_id, tenant, limits, tokens)
        except RedisError as error:
            self._leases.repeat_later(reservation, "C", 0)
            self._leases.failed(error)
            return await self._without_store(reservation)
        except asyncio.CancelledError:
            self._leases.repeat_later(reservation, "C", 0)
            raise
        self._admit(reservation, answer)
        return reservation

    async def settle(self, reservation: Reservation, *, tokens: int) -> None:
        if reservation.settled or not reservation.limits:
            return
        reservation.settled = True
        if reservation.request_id in self._elsewhere:
            share = self._elsewhere.pop(reservation.request_id)
            if share is not None:
                await self._share.settle(share, tokens=tokens)
            return
        self.counts.overshoot_tokens += max(0, tokens - reservation.tokens)
        self._leases.release(reservation)
        if self._breaker.is_open:
            self._leases.repeat_later(reservation, "S", tokens)
            return
        try:
            how = await self._scripts.settle(reservation, "S", tokens)
        except RedisError as error:
            self._leases.repeat_later(reservation, "S", tokens)
            self._leases.failed(error)
        except asyncio.CancelledError:
            self._leases.repeat_later(reservation, "S", tokens)
            raise
        else:
            self.counts.late += how == LATE

    async def open(self) -> None:
        await self._leases.open()

    async def aclose(self) -> None:
        await self._leases.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def _admit(self, reservation: Reservation, answer: list[int]) -> None:
        how, now, *rest = answer
        limits = reservation.limits
        if how == ENDED:
            raise ValueError(f"request id {reservation.request_id!r} has ended already")
        if how == REFUSED:
            index, wait, *rest = rest
            self.counts.refused(limits[index - 1])
            raise LimitReached(limits[index - 1], wait, _standings(limits, rest, now))
        reservation.standings = _standings(limits, rest, now)
        self.counts.admitted += 1
        self._leases.hold(reservation)

    async def _without_store(self, reservation: Reservation) -> Reservation:
        match self._settings.on_store_error:
            case "allow":
                self.counts.allowed_unseen += 1
                self._elsewhere[reservation.request_id] = None
            case "local":
                await self._take_share(reservation)
            case "refuse":
                raise self._unavailable()
        return reservation

    async def _take_share(self, reservation: Reservation) -> None:
        parts = self._settings.max_replicas
        limits = tuple(replace(limit, amount=limit.amount // parts) for limit in reservation.limits)
        # What fits the limit but not our share of it is no fault of the request.
        if any(limit.cost(reservation.tokens) > limit.amount for limit in limits):
            raise self._unavailable()
        share = await self._share.reserve(
            reservation.request_id, reservation.tenant, limits, tokens=reservation.tokens
        )
        self.counts.held_locally += 1
        self._elsewhere[reservation.request_id] = share
        reservation.standings = share.standings

    def _unavailable(self) -> LimitsUnavailable:
        self.counts.unavailable += 1
        return LimitsUnavailable("Limits can not be checked at the moment.", retry_after=1.0)


def _standings(limits: tuple[Limit, ...], used: list[int], now: int) -> tuple[Standing, ...]:
    return tuple(
        Standing(limit, max(0, limit.amount - each), limit.window.resets_in(now) / 1000)
        for limit, each in zip(limits, used, strict=True)
    )
