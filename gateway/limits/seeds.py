"""
What a counter begins with that may have missed a part of its period: what the ledger says.

Each counter is asked for once, however many requests wait for it.
"""

import asyncio
from collections.abc import Iterable
from datetime import date

from .limiter import Spent
from .model import Calendar, Limit


class Seeds:
    """Asks the ledger, where there is one. Closing ends the questions that are open."""

    def __init__(self, spent: Spent | None) -> None:
        self._spent = spent
        self._asking: dict[tuple[str, str, date, str], asyncio.Task[int]] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is a ledger to ask."""
        return self._spent is not None

    async def of(
        self, tenant: str, limits: Iterable[Limit], now: int, *, without: str = ""
    ) -> list[int]:
        """
        What has been used of calendar limits in the period that holds `now` (ms since 1970), but
        for the request `without`.

        Raises:
            StoreUnavailable: the ledger is out of reach.
        """
        return [await self._of(tenant, limit, now, without) for limit in limits]

    async def aclose(self) -> None:
        """Ask no more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _of(self, tenant: str, limit: Limit, now: int, without: str) -> int:
        assert isinstance(limit.window, Calendar), "only these have a past"
        start = limit.window.first_day(now)
        about = (tenant, limit.name, start, without)
        task = self._asking.get(about)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(tenant, limit, start, without))
            self._asking[about] = task
            task.add_done_callback(lambda done: self._answered(about, done))
        return await asyncio.shield(task)  # others wait for it too

    def _answered(self, about: tuple[str, str, date, str], task: asyncio.Task[int]) -> None:
        del self._asking[about]
        if not task.cancelled():
            task.exception()  # looked at, though all who waited may have left

    async def _ask(self, tenant: str, limit: Limit, start: date, without: str) -> int:
        assert self._spent is not None, "asked only where there is a ledger"
        return await self._spent.spent(tenant, limit.scope, limit.measure, start, without=without)
