"""
The one Redis client: scripts, run many to a round trip.

Calls of one tick of the event loop, and all that come while an answer is awaited, travel together
in one flight. A flight that is not answered within the deadline is given up together with its
connection, so a late reply can never be taken for another's, and whoever was waiting behind it is
told at once. Whether a script that was not answered has run is unknown: scripts are written so
that undoing or repeating them is safe.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha1
from types import TracebackType
from typing import Any, Self

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

MOST = 64
"""
Commands in one flight; further ones take the next. So few are answered well within a deadline of
50 ms by a server that is busy; several hundred would not be, and all of them would come back.
"""

Argument = str | int | bytes


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name under which a server remembers it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis's own choice of digest; nothing secret.
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


@dataclass(slots=True, eq=False)
class _Call:
    command: tuple[Argument, ...]
    answer: Future[Any]
    script: Script | None
    within: float

    def resolve(self, reply: object) -> None:
        if self.answer.done():  # its caller was cancelled
            return
        if isinstance(reply, Exception):
            self.answer.set_exception(reply)
        else:
            self.answer.set_result(reply)


class Redis:
    """
    A connection to one server, made on first use and again after each failure.

    `round_trips` and `connections` count since the start. Closing fails what is still waiting
    and leaves neither task nor socket.
    """

    def __init__(self, connection: Callable[[], AbstractConnection], *, deadline: float) -> None:
        self.round_trips = 0
        self.connections = 0
        self._make = connection
        self._deadline = deadline
        self._connection: AbstractConnection | None = None
        self._waiting: list[_Call] = []
        self._flights: asyncio.Task[None] | None = None
        self._closed = False

    def run(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]
    ) -> Future[Any]:
        """
        Run a script; the answer is integers, bytes and lists of them.

        Awaiting it raises `redis.exceptions.RedisError`: ResponseError where the server refused,
        otherwise the script may or may not have run. Cancelling the wait does not recall it.
        """
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        return self._take(command, script, self._deadline)

    async def ping(self, *, within: float) -> None:
        """
        Reach the server within so many seconds, a new connection included.

        Raises:
            RedisError: it was not reached.
        """
        await self._take(("PING",), None, within)

    async def info(self, section: str, *, within: float | None = None) -> dict[str, str]:
        """
        What the server says of itself, within so many seconds or within the deadline.

        Raises:
            RedisError: it did not answer, or this user may not ask.
        """
        told: bytes = await self._take(("INFO", section), None, within or self._deadline)
        lines = told.decode(errors="replace").splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines)}

    async def aclose(self) -> None:
        """Give up what is under way and close. Running anything afterwards fails."""
        self._closed = True
        if self._flights is not None:
            self._flights.cancel()
            await asyncio.gather(self._flights, return_exceptions=True)
        await self._abandon(self._waiting, RedisConnectionError("closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _take(
        self, command: tuple[Argument, ...], script: Script | None, within: float
    ) -> Future[Any]:
        loop = asyncio.get_running_loop()
        call = _Call(command, loop.create_future(), script, within)
        if self._closed:
            call.resolve(RedisConnectionError("closed"))
            return call.answer
        self._waiting.append(call)
        if self._flights is None:
            # It starts after every task that is ready now, so that their calls share a flight.
            self._flights = loop.create_task(self._fly())
        return call.answer

    async def _fly(self) -> None:
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._send(calls)
        finally:
            self._flights = None

    async def _send(self, calls: list[_Call]) -> None:
        lost: RedisError | None = RedisConnectionError("given up")
        try:
            async with asyncio.timeout(max(call.within for call in calls)):
                await self._exchange(calls)
            lost = None
        except TimeoutError:
            lost = RedisTimeoutError("no answer within the deadline")
        except (RedisError, OSError) as error:
            lost = RedisConnectionError(str(error))
        finally:
            if lost is not None:
                behind, self._waiting = self._waiting, []
                await self._abandon(calls + behind, lost)

    async def _exchange(self, calls: list[_Call]) -> None:
        connection = await self._connected()
        forgotten = await self._round_trip(connection, calls, [call.command for call in calls])
        if forgotten:  # nothing of them has run
            again = [_whole(call) for call in forgotten]
            await self._round_trip(connection, forgotten, again, resend=False)

    async def _round_trip(
        self,
        connection: AbstractConnection,
        calls: list[_Call],
        commands: list[tuple[Argument, ...]],
        *,
        resend: bool = True,
    ) -> list[_Call]:
        """Send commands, resolve their calls; return the calls whose script is not known."""
        self.round_trips += 1
        forgotten, stale = [], False
        # Packed in C: the library's own packing costs more than all else of a call.
        # Its types allow for one argument only.
        packed = b"".join([pack_command(command) for command in commands])  # type: ignore[arg-type]
        await connection.send_packed_command(packed, check_health=False)
        for call in calls:
            reply: object
            try:
                reply = await connection.read_response(disconnect_on_error=False)
            except ResponseError as refused:
                if resend and isinstance(refused, NoScriptError):
                    forgotten.append(call)
                    continue
                stale = stale or isinstance(refused, ReadOnlyError)
                reply = refused
            call.resolve(reply)
        if stale:  # a failover has made this server a replica
            await self._disconnect()
        return forgotten

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._make()
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            self.connections += 1
        return self._connection

    async def _abandon(self, calls: list[_Call], error: RedisError) -> None:
        for call in calls:
            call.resolve(error)
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def open_redis(url: str, *, deadline: float = 0.05) -> Redis:
    """
    A client of the server at `url` (redis://, rediss:// or unix://); nothing is sent yet.

    `deadline` is in seconds and holds for a whole flight.

    Raises:
        ValueError: the address is not one.
    """
    pool = ConnectionPool.from_url(
        url,
        protocol=2,
        driver_info=None,  # two commands less on each connection
        retry=Retry(NoBackoff(), 0),  # the deadline leaves no time for it
        socket_timeout=None,
        socket_connect_timeout=None,
    )
    return Redis(partial(pool.connection_class, **pool.connection_kwargs), deadline=deadline)


def _whole(call: _Call) -> tuple[Argument, ...]:
    assert call.script is not None
    return ("EVAL", call.script.text, *call.command[2:])
