"""
How many requests are worked on at once.

A place is handed from who leaves to who waits longest; a client that hangs up while it waits
takes none and loses none.
"""

import asyncio
from collections import deque

from .link import Link


class Places:
    """How many requests are worked on at once; who comes later waits, first come first served."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._queue: deque[asyncio.Future[None]] = deque()

    async def take(self, link: Link) -> None:
        """Wait for a place. Raises `HungUp`, and then none is taken."""
        if self._free:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        taken = False
        try:
            await link.until(waiter)
            taken = True
        finally:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif not taken:
                self.give()

    def give(self) -> None:
        """Hand a place to whoever waits longest."""
        for waiter in self._queue:
            if not waiter.done():  # done and still queued: its client left
                self._queue.remove(waiter)
                waiter.set_result(None)
                return
        self._free += 1
