"""
One provider's slots, and the line before them.

What stays true: a slot is taken only while fewer than the limit are, and a free slot and somebody
who waits never exist together, so nobody is overtaken and no turn is lost. Whoever stops waiting
at the moment of its turn passes it on. The line is bounded; when it is full a tenant that holds
less than an equal share of it takes the place of the newest request of the tenant with most, and
anybody else is refused. So one tenant may fill it while it is alone, and not against others.

Hot: `take` and `give_back`, once an attempt. Only those who wait cost a future and a timer.
"""

import asyncio
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from ..contract.errors import ProviderBusy
from ..contract.provider import ProviderSettings
from .adaptive import AdaptiveLimit, Ended
from .pace import Pace
from .turns import Turn, Turns

LONGEST = 60
"""Seconds that a refused client is told to wait at most; the least is 1."""


class LaneState(NamedTuple):
    """What is going on at one provider; `limit` is None where there is none."""

    in_flight: int
    waiting: int
    limit: int | None


class Lane:
    """The slots of one provider. `clock` is in seconds and steady."""

    __slots__ = ("_adaptive", "_clock", "_limit", "_pace", "_settings", "_turns", "taken")

    def __init__(self, settings: ProviderSettings, clock: Callable[[], float]) -> None:
        now = clock()
        self.taken = 0
        self._clock = clock
        self._settings = settings
        self._turns = Turns()
        self._pace = Pace(now)
        self._adaptive = _adaptive(settings, now)
        self._limit = self._limit_now()

    @property
    def state(self) -> LaneState:
        """How it is now."""
        return LaneState(self.taken, len(self._turns), self._limit)

    @property
    def is_idle(self) -> bool:
        """Whether nobody is here."""
        return not self.taken and not self._turns

    def configure(self, settings: ProviderSettings) -> None:
        """From now on these settings hold; whoever is here stays."""
        now = self._clock()
        before, self._settings = self._settings, settings
        if self._limit is None:
            self._pace = Pace(now)  # nobody has measured it
        self._pace.tick(self.taken, now)
        if (settings.adaptive, settings.max_concurrency) != (
            before.adaptive,
            before.max_concurrency,
        ):
            start = None if self._adaptive is None else self._adaptive.limit
            self._adaptive = _adaptive(settings, now, start)
        self._limit = self._limit_now()
        self._grant()

    def take(self) -> bool:
        """Take a slot if one is free, which it never is while somebody waits for it."""
        if self._limit is not None:
            if self.taken >= self._limit:
                return False
            self._pace.tick(self.taken, self._clock())
        self.taken += 1
        return True

    async def wait(self, tenant: str, until: float) -> None:
        """
        Take a slot when its turn has come, since none is free.

        `until` is an instant of the running loop's clock. Cancelled or refused, it holds nothing.

        Raises:
            ProviderBusy: there is no line, it is full, it would take too long or it has; its
                `retry_after` tells from the measured pace when a repeat would get through.
        """
        loop = asyncio.get_running_loop()
        patience = min(until - loop.time(), self._settings.queue.wait)
        self._pace.tick(self.taken, self._clock())
        self._make_room(tenant, patience)
        turn = loop.create_future()
        self._turns.join(tenant, turn)
        timer = loop.call_at(loop.time() + patience, _give_up, turn)
        try:
            has_slot = await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():
                self._free()  # it came too late for us, so it is the next one's
            raise
        finally:
            timer.cancel()
            self._turns.leave(tenant, turn)
        if not has_slot:
            raise self._busy(tenant)

    def give_back(self, *, seconds: float | None = None, overloaded: bool = False) -> None:
        """
        Free a slot that was taken.

        `seconds` is the time to the first content, None where there was none. `overloaded` says
        that the upstream had too much to do: it refused with 429 or 503, or let a deadline pass.
        """
        if self._limit is None:  # so that nobody waits
            self.taken -= 1
            return
        now = self._clock()
        self._pace.tick(self.taken, now)
        self._pace.ended()
        if self._adaptive is not None:
            in_use = self.taken >= self._adaptive.limit
            self._adaptive.ended(Ended(seconds, overloaded, in_use), now)
            self._limit = self._adaptive.limit
        self._free()

    def _free(self) -> None:
        self.taken -= 1
        if self._turns:
            self._grant()

    def _grant(self) -> None:
        while self._limit is None or self.taken < self._limit:
            turn = self._turns.next()
            if turn is None:
                return
            turn.set_result(True)
            self.taken += 1

    def _make_room(self, tenant: str, patience: float) -> None:
        """See to it that one more may wait, or refuse it."""
        size, turns = self._settings.queue.size, self._turns
        if size == 0 or patience <= 0 or self._estimate(tenant) > patience:
            raise self._busy(tenant)
        if len(turns) < size:
            return
        held = turns.of(tenant)
        if held >= size // (turns.tenants + (held == 0)):
            raise self._busy(tenant)
        _give_up(turns.push_out())

    def _estimate(self, tenant: str) -> float:
        """Seconds that one more of the tenant's would wait."""
        turns = self._turns
        held = turns.of(tenant)
        ahead = min(len(turns), held * turns.tenants + turns.tenants - (held > 0))
        return self._pace.wait(ahead + 1, self.taken, self._limit or 1)

    def _busy(self, tenant: str) -> ProviderBusy:
        retry_after = min(max(ceil(self._estimate(tenant)), 1), LONGEST)
        told = f"{self.taken} requests are in flight and {len(self._turns)} wait"
        return ProviderBusy(told, retry_after=float(retry_after))

    def _limit_now(self) -> int | None:
        if self._adaptive is not None:
            return self._adaptive.limit
        return self._settings.max_concurrency


def _adaptive(
    settings: ProviderSettings, now: float, start: int | None = None
) -> AdaptiveLimit | None:
    if settings.adaptive is None:
        return None
    return AdaptiveLimit(settings.adaptive, settings.max_concurrency, now, start=start)


def _give_up(turn: Turn) -> None:
    if not turn.done():
        turn.set_result(False)
