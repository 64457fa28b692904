"""
What holds while the store can not be asked, by each limit's own policy.

`refuse`: nothing is admitted. `local`: this process holds itself to its part of the limit, so
that all processes together hold the whole. `allow`: the limit is not looked at. Of the limits of
one request the strictest decides. A share knows nothing of what the store has admitted: a window
that spans the beginning or the end of an outage may hold up to twice its limit.
"""

from collections.abc import Iterable
from dataclasses import replace

from ..contract.errors import LimitsUnavailable, RequestExceedsLimit
from .counts import Counts
from .memory import MemoryLimiter
from .model import Amounts, Ask, Limit, OnStoreError, Reservation
from .settings import LimitsSettings

REMEMBERED = 4096
"""Callers whose parts of limits are remembered; beyond that all are made anew."""


class Away:
    """Requests that the store has not admitted."""

    def __init__(self, settings: LimitsSettings, counts: Counts) -> None:
        self._settings = settings
        self._counts = counts
        self._share = MemoryLimiter(counts=counts)
        self._parts: dict[tuple[Limit, ...], tuple[Limit, ...]] = {}
        self._admitted: dict[str, Reservation | None] = {}

    def has(self, reservation: Reservation) -> bool:
        """Whether it was admitted here and has not been released."""
        return reservation.request_id in self._admitted

    def unlimited(self, reservation: Reservation) -> Reservation:
        """Admit what has no limits and leaves no trace: no store need be asked."""
        self._admitted[reservation.request_id] = None
        return reservation

    async def take(self, reservation: Reservation, ask: Ask) -> Reservation:
        """
        Admit as the policies say.

        Raises:
            LimitExceeded: this process's share is used up.
            LimitsUnavailable: a policy is to refuse, or no share can hold so much.
        """
        if "refuse" in self._policies(reservation.limits):
            raise self.unavailable()
        local = self._parts_of(reservation.limits)
        share = None
        if local:
            share = await self._take_share(reservation, local, ask)
            self._counts.held_locally += 1
        elif reservation.limits:
            self._counts.allowed_unseen += 1
        self._admitted[reservation.request_id] = share
        return reservation

    async def extend(self, reservation: Reservation, amounts: Amounts) -> None:
        """
        Raise what was admitted here.

        Raises as `take` does.
        """
        share = self._admitted[reservation.request_id]
        if share is not None:
            try:
                await self._share.extend(share, amounts)
            except RequestExceedsLimit:
                raise self.unavailable() from None
        reservation.amounts = amounts

    def extend_unseen(self, reservation: Reservation, amounts: Amounts) -> None:
        """
        Raise what the store has admitted before it was out of reach.

        Raises:
            LimitsUnavailable: a limit that it raises is not one to be left unwatched.
        """
        held = reservation.amounts
        raised = (each for each in reservation.limits if each.cost(amounts) > each.cost(held))
        if self._policies(raised) - {"allow"}:
            raise self.unavailable()
        self._counts.allowed_unseen += 1
        reservation.amounts = amounts

    async def release(self, reservation: Reservation, used: Amounts) -> None:
        """End what was admitted here."""
        share = self._admitted.pop(reservation.request_id)
        if share is not None:
            await self._share.settle(share, used)

    async def cancel(self, reservation: Reservation) -> None:
        """Take back what was admitted here."""
        share = self._admitted.pop(reservation.request_id)
        if share is not None:
            await self._share.cancel(share)

    def unavailable(self) -> LimitsUnavailable:
        """The refusal, counted."""
        self._counts.unavailable += 1
        return LimitsUnavailable("Limits can not be checked at the moment.", retry_after=1.0)

    async def _take_share(
        self, reservation: Reservation, limits: tuple[Limit, ...], ask: Ask
    ) -> Reservation:
        try:
            share = await self._share.reserve(
                reservation.request_id, reservation.tenant, limits, ask
            )
        except RequestExceedsLimit:
            # What fits the limit but not our share of it is no fault of the request.
            raise self.unavailable() from None
        reservation.standings = share.standings
        reservation.amounts, reservation.cap = share.amounts, share.cap
        return share

    def _policies(self, limits: Iterable[Limit]) -> set[OnStoreError]:
        return {each.on_store_error or self._settings.on_store_error for each in limits}

    def _parts_of(self, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        """This process's parts; the same each time, since our share knows them by identity."""
        parts = self._parts.get(limits)
        if parts is None:
            if len(self._parts) >= REMEMBERED:
                self._parts.clear()
            parts = tuple(self._part(each) for each in limits if self._is_local(each))
            self._parts[limits] = parts
        return parts

    def _is_local(self, limit: Limit) -> bool:
        return (limit.on_store_error or self._settings.on_store_error) == "local"

    def _part(self, limit: Limit) -> Limit:
        return replace(limit, amount=limit.amount // self._settings.max_replicas)
