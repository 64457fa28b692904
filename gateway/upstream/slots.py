"""
How many exchanges are under way with one origin: bounded, and in the order of asking.

For engines that have pools of their own, which then never have to make anyone wait.
"""

import asyncio
from collections import OrderedDict

import httpx


class Slots:
    """`most` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiters)

    async def take(self, within: float) -> None:
        """
        Take one, which the caller owes back, within so many seconds.

        Raises:
            httpx.PoolTimeout: none came free in time.
        """
        if self.taken < self._most:
            self.taken += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            async with asyncio.timeout(within):
                await waiter
        except BaseException as error:
            self._waiters.pop(waiter, None)
            if waiter.done() and not waiter.cancelled():
                self.give_back()  # it came at the moment in which it was given up
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout("no connection came free in time") from error
            raise

    def give_back(self) -> None:
        """Hand one to whoever has waited for longest."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return
        self.taken -= 1
