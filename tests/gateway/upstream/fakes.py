"""Connections, and how they are made, as far as a pool sees them."""

import asyncio

import httpx

from gateway.upstream.pool import Lost, Pool


class FakeConnection:
    """What a pool sees of a connection."""

    def __init__(self, lost: Lost, number: int) -> None:
        self.number = number
        self.made_at = 0.0
        self.idle_since = 0.0
        self.taken_at = 0.0
        self.exchanges = 1
        self.answered = True
        self.is_open = True
        self.dirty = False
        self._lost = lost

    @property
    def is_clean(self) -> bool:
        return self.is_open and not self.dirty

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self._lost, self)

    def die(self) -> None:
        """The upstream closed it."""
        self.is_open = False
        self._lost(self)


class Dialler:
    """Makes connections, late or not at all, and counts them."""

    def __init__(self) -> None:
        self.made: list[FakeConnection] = []
        self.delay = 0.0
        self.fails = False

    async def __call__(self, lost: Lost, within: float) -> FakeConnection:
        await asyncio.sleep(self.delay)
        if self.fails:
            raise httpx.ConnectError("refused")
        self.made.append(FakeConnection(lost, len(self.made)))
        return self.made[-1]

    @property
    def alive(self) -> int:
        return sum(connection.is_open for connection in self.made)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pool_of(size: int, dial: Dialler, clock: Clock | None = None, **options: float) -> Pool:
    ages = {"idle_timeout": 60.0, "max_age": 300.0} | options
    return Pool(dial, max_connections=size, clock=clock or Clock(), **ages)
