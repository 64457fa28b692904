"""
What a counter begins with that may have missed a part of its period: what the ledger says.

Each counter is asked for once, however many requests wait for it.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import date

from .limiter import Spent
from .model import Calendar, Limit

Pending = Callable[[str, Limit, date, int], int]
About = tuple[str, str, date, int, str]


def _nothing(*_: object) -> int:
    """Where every row is charged before it is handed to the ledger."""
    return 0


class Seeds:
    """
    Asks the ledger, where there is one. Closing ends the questions that are open.

    `pending` says how much of the answer has yet to be charged to the counter, and will be: of a
    tenant's limit, since the first day of its period, to data of that epoch.
    """

    def __init__(self, spent: Spent | None, pending: Pending = _nothing) -> None:
        self._spent = spent
        self._pending = pending
        self._asking: dict[About, asyncio.Task[int]] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is a ledger to ask."""
        return self._spent is not None

    async def of(
        self,
        tenant: str,
        limits: Iterable[Limit],
        now: int,
        *,
        epoch: int = 0,
        without: str = "",
    ) -> list[int]:
        """
        What has been used of calendar limits in the period that holds `now` (ms since 1970), but
        for the request `without`, and for what is pending to the data of `epoch`.

        Raises:
            StoreUnavailable: the ledger is out of reach.
        """
        return [await self._of(tenant, limit, now, epoch, without) for limit in limits]

    async def aclose(self) -> None:
        """Ask no more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _of(self, tenant: str, limit: Limit, now: int, epoch: int, without: str) -> int:
        assert isinstance(limit.window, Calendar), "only these have a past"
        start = limit.window.first_day(now)
        about = (tenant, limit.name, start, epoch, without)
        task = self._asking.get(about)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._ask(tenant, limit, start, epoch, without)
            )
            self._asking[about] = task
            task.add_done_callback(lambda done: self._answered(about, done))
        return await asyncio.shield(task)  # others wait for it too

    def _answered(self, about: About, task: asyncio.Task[int]) -> None:
        del self._asking[about]
        if not task.cancelled():
            task.exception()  # looked at, though all who waited may have left

    async def _ask(self, tenant: str, limit: Limit, start: date, epoch: int, without: str) -> int:
        assert self._spent is not None, "asked only where there is a ledger"
        pending = self._pending(tenant, limit, start, epoch)  # now: these rows are told
        spent = await self._spent.spent(tenant, limit.scope, limit.measure, start, without=without)
        return max(0, spent - pending)
