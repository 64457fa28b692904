"""
The connections to one origin: kept alive, bounded, and shared out in the order of asking.

A slot is taken before a connection is dialled and freed when that connection is closed, so
`open` never passes `max_connections`. Whoever took a connection gives it back exactly once,
whatever happened; one that is not clean is closed, never reused, and one that looks dead takes
along those that have been idle for longer. While anyone waits there is neither an idle connection
nor a free slot: both go to the longest waiter first, and a waiter that is cancelled passes on what
it was given.

Hot: `take_warm` and `give_back` are dictionary operations; one timer a pool closes idle
connections.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import httpx

from .connection import Connection

SILENCE = 5.0
"""Seconds without a byte of an answer that make a kept-alive connection look dead."""

Lost = Callable[[Connection], None]
Dial = Callable[[Lost, float], Awaitable[Connection]]
"""
Opens a connection within so many seconds; the callback is the connection's `lost`.

Raises `httpx.ConnectError`, `httpx.ConnectTimeout` or, where there is no room, `httpx.PoolTimeout`.
"""


class Pool:
    """
    `idle_timeout` and `max_age` are seconds after which a connection is not used again;
    `clock` counts seconds and never goes back.
    """

    def __init__(
        self,
        dial: Dial,
        *,
        max_connections: int,
        idle_timeout: float,
        max_age: float,
        clock: Callable[[], float],
    ) -> None:
        self._dial = dial
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout
        self._max_age = max_age
        self._clock = clock
        self._idle: dict[Connection, None] = {}  # the longest idle first
        self._members: set[Connection] = set()  # those idle and in use
        self._dialling = 0
        self._waiters: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open(self) -> int:
        """Slots taken: connections idle, in use and being made."""
        return len(self._members) + self._dialling

    @property
    def idle(self) -> int:
        """Connections ready for a request."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiters)

    def take_warm(self) -> Connection | None:
        """
        Take the connection that was used last, if one is ready; who has none may `take` one.

        The caller owes one `give_back` for it.
        """
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            now = connection.taken_at = self._clock()
            if (
                connection.is_open
                and now - connection.idle_since < self._idle_timeout
                and now - connection.made_at < self._max_age
            ):
                return connection
            self._close(connection)
        return None

    async def take(self, *, connect_timeout: float, pool_timeout: float) -> Connection:
        """
        Take the connection that was used last, or a new one, waiting for a slot if need be.

        Both time-outs are seconds. The caller owes one `give_back`; after an exception, none.

        Raises:
            httpx.PoolTimeout: no slot came free in time.
            httpx.ConnectError, httpx.ConnectTimeout: as `dial` says.
        """
        if self._closed:
            raise httpx.ConnectError("the pool is closed")
        connection = self.take_warm()
        if connection is not None:
            return connection
        if self.open < self._max_connections:
            self._dialling += 1
        else:
            connection = await self._turn(pool_timeout)
            if connection is not None:
                return connection
        return await self._connect(connect_timeout)

    async def replace(self, stale: Connection, *, connect_timeout: float) -> Connection:
        """
        Exchange a taken connection that turned out dead for a new one, keeping its slot.

        Idle connections that were last used before it are most likely dead as well: closed.
        The caller owes a `give_back` for the new one; after an exception, none.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: as `dial` says.
        """
        self._close(stale)
        self._dialling += 1
        self._drop_idle(since=stale.idle_since)
        return await self._connect(connect_timeout)

    def give_back(self, connection: Connection) -> None:
        """Hand a taken connection to the next user if it is clean, else close it."""
        if connection not in self._members:
            return  # the pool was closed, or it was replaced
        now = self._clock()
        if not connection.is_clean or now - connection.made_at > self._max_age:
            self._close(connection)
            if _looks_dead(connection, now):
                self._drop_idle(since=connection.idle_since)
            self._offer_slot()
            return
        connection.idle_since = now
        if self._waiters and (waiter := self._next_waiter()) is not None:
            connection.taken_at = now
            waiter.set_result(connection)
            return
        self._idle[connection] = None
        if self._sweeper is None:
            self._sweep_in(self._idle_timeout)

    async def aclose(self) -> None:
        """Close all connections, those in use too, and refuse whoever waits. May be repeated."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in self._members:
            connection.close()
        self._idle.clear()
        self._members.clear()
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(httpx.ConnectError("the pool is closed"))
        await asyncio.sleep(0)  # sockets are closed by the loop's next turn

    def _close(self, connection: Connection) -> None:
        """Its slot is free; whoever calls this says for whom."""
        self._members.discard(connection)
        connection.close()

    async def _turn(self, pool_timeout: float) -> Connection | None:
        """Wait for a connection, or for None: a slot to dial one in, already counted."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            async with asyncio.timeout(pool_timeout):
                connection = await waiter
        except BaseException as error:
            self._waiters.pop(waiter, None)
            self._pass_on(waiter)
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout("no connection came free in time") from error
            raise
        if connection is None or connection.is_open:
            return connection
        self._members.discard(connection)  # it died on the way here: keep its slot
        self._dialling += 1
        return None

    def _pass_on(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Nobody is there any more to use what `waiter` was given, if anything."""
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is not None:
            self.give_back(connection)
            return
        self._dialling -= 1
        self._offer_slot()

    async def _connect(self, connect_timeout: float) -> Connection:
        """Dial in a slot that is already counted in `_dialling`."""
        try:
            connection = await self._dial(self._on_lost, connect_timeout)
        except BaseException:
            self._dialling -= 1
            self._offer_slot()
            raise
        self._dialling -= 1
        if self._closed:
            connection.close()
            raise httpx.ConnectError("the pool is closed")
        connection.made_at = self._clock()
        connection.free = self.give_back
        self._members.add(connection)
        return connection

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                return waiter
        return None

    def _offer_slot(self) -> None:
        if self._closed or self.open >= self._max_connections:
            return
        waiter = self._next_waiter()
        if waiter is not None:
            self._dialling += 1
            waiter.set_result(None)

    def _on_lost(self, connection: Connection) -> None:
        # One in use keeps its slot until its user gives it back.
        if connection in self._idle:
            del self._idle[connection]
            self._members.discard(connection)
            self._offer_slot()

    def _drop_idle(self, *, since: float) -> None:
        """Close what has been idle since that instant or longer."""
        for connection in list(self._idle):
            if connection.idle_since > since:
                return
            del self._idle[connection]
            self._close(connection)

    def _sweep_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock()
        self._drop_idle(since=now - self._idle_timeout)
        for connection in self._idle:
            self._sweep_in(connection.idle_since + self._idle_timeout - now)
            return


def _looks_dead(connection: Connection, now: float) -> bool:
    """Whether it was used before and has now kept silent: its elders may well be dead, too."""
    unheard = connection.exchanges > 1 and not connection.answered
    return unheard and now - connection.taken_at >= SILENCE
