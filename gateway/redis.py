"""
The one Redis client: scripts, run many to a round trip.

Calls of one tick of the event loop, and all that come while an answer is awaited, travel together
in one flight. A flight that is not answered within the deadline is given up together with its
connection, so a late reply can never be taken for another's, and whoever was waiting behind it is
told at once. Whether a script that was not answered has run is unknown: scripts are written so
that undoing or repeating them is safe.

Hot: a flight has neither a task nor a timeout block of its own. It leaves from a callback, and its
replies are handed out as they are read from the socket.
"""

import asyncio
from asyncio import AbstractEventLoop, Future, StreamWriter
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1
from types import TracebackType
from typing import Any, Self

from hiredis import Reader, pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool, DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    RedisError,
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

_INCOMPLETE = object()
"""What a reader says that has not got the whole of the next reply."""


def packed(values: Sequence[Argument]) -> bytes:
    """A part of a command, as it is sent."""
    # In C: the library's own packing costs more than all else of a call. Its types allow for one
    # argument only.
    command: bytes = pack_command(tuple(values))  # type: ignore[arg-type]
    return command[command.index(b"\n") + 1 :]  # it begins with how many there are


class Script:
    """A Lua script: how it is called by the name under which a server remembers it, and whole."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Redis's own choice of digest; nothing secret.
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.by_name = packed(("EVALSHA", self.sha))
        self.whole = packed(("EVAL", text))


class _Call:
    """A command on its way. `parts` are what follows a script, or all where there is none."""

    __slots__ = ("answer", "count", "parts", "script", "within")

    def __init__(
        self,
        parts: bytes,
        count: int,
        answer: Future[Any],
        within: float,
        script: Script | None = None,
    ) -> None:
        self.parts = parts
        self.count = count
        self.answer = answer
        self.within = within
        self.script = script

    def command(self) -> bytes:
        """By the script's name."""
        script = self.script
        if script is None:
            return b"*%d\r\n%b" % (self.count, self.parts)
        return b"*%d\r\n%b%b" % (self.count + 2, script.by_name, self.parts)

    def anew(self) -> bytes:
        """With the script's text, which the server does not know: nothing of it has run."""
        script, self.script = self.script, None  # it is not forgotten twice
        assert script is not None, "only a script can be forgotten"
        return b"*%d\r\n%b%b" % (self.count + 2, script.whole, self.parts)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():  # its caller was cancelled
            self.answer.set_exception(error)


class _Line(asyncio.Protocol):
    """
    A connection. `heard` gets its replies in their order; `ended` is called when it is of no more
    use, unless it was dropped before.
    """

    def __init__(
        self,
        writer: StreamWriter,
        heard: Callable[[Any], None],
        ended: Callable[[RedisError], None],
    ) -> None:
        self._writer = writer  # which would close the transport if it were let go
        self._heard = heard
        self._ended = ended
        self._is_dropped = False
        self._reader = Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        writer.transport.set_protocol(self)
        self.send = writer.transport.write

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        reader = self._reader
        reader.feed(data)
        try:
            while not self._is_dropped and (reply := reader.gets()) is not _INCOMPLETE:
                self._heard(reply)
        except RedisError as error:  # these were no replies
            self._ended(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        if not self._is_dropped:
            self._ended(RedisConnectionError(str(exc or "closed by the server")))

    def drop(self) -> None:
        """Close it, and hear nothing of it any more."""
        self._is_dropped = True
        self._writer.transport.abort()


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
        self._loop: AbstractEventLoop | None = None
        self._line: _Line | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[_Call] = []
        self._flight: deque[_Call] = deque()
        """What has been sent, or will be as soon as there is a connection; oldest first."""
        self._forgotten: list[_Call] = []
        """Of the flight, calls whose script the server does not know."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._is_stale = False
        self._closed = False

    def run(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]
    ) -> Future[Any]:
        """
        Run a script; the answer is integers, bytes and lists of them.

        Awaiting it raises `redis.exceptions.RedisError`: ResponseError where the server refused,
        otherwise the script may or may not have run. Cancelling the wait does not recall it.
        """
        values = (len(keys), *keys, *args)
        return self.run_packed(script, packed(values), len(values))

    def run_packed(self, script: Script, values: bytes, count: int) -> Future[Any]:
        """Run a script, as `run` does, on so many values: the number of keys, keys, arguments."""
        return self._take(values, count, self._deadline, script)

    async def ping(self, *, within: float) -> None:
        """
        Reach the server within so many seconds, a new connection included.

        Raises:
            RedisError: it was not reached.
        """
        await self._take(packed(("PING",)), 1, within)

    async def info(self, section: str, *, within: float | None = None) -> dict[str, str]:
        """
        What the server says of itself, within so many seconds or within the deadline.

        Raises:
            RedisError: it did not answer, or this user may not ask.
        """
        told: bytes = await self._take(packed(("INFO", section)), 2, within or self._deadline)
        lines = told.decode(errors="replace").splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines)}

    async def aclose(self) -> None:
        """Give up what is under way and close. Running anything afterwards fails."""
        self._closed = True
        connecting = self._connecting
        self._lose(RedisConnectionError("closed"))
        if connecting is not None:
            await asyncio.gather(connecting, return_exceptions=True)

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
        self, parts: bytes, count: int, within: float, script: Script | None = None
    ) -> Future[Any]:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        answer: Future[Any] = loop.create_future()
        call = _Call(parts, count, answer, within, script)
        if self._closed:
            call.fail(RedisConnectionError("closed"))
            return answer
        self._waiting.append(call)
        if not self._is_busy:
            self._is_busy = True
            # It leaves after every task that is ready now, so that their calls share a flight.
            loop.call_soon(self._depart)
        return answer

    def _depart(self) -> None:
        """Send what waits, if anything does."""
        calls, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        self._is_busy = bool(calls)
        if not calls:
            return
        assert self._loop is not None, "known since the first call"
        self._flight.extend(calls)
        within = max([call.within for call in calls])
        self._timer = self._loop.call_later(within, self._give_up)
        if self._line is None:
            self._connecting = self._loop.create_task(self._connect())
        else:
            self._send(self._line)

    def _send(self, line: _Line) -> None:
        self.round_trips += 1
        line.send(b"".join([call.command() for call in self._flight]))

    async def _connect(self) -> None:
        """For the flight that waits for it; cancelled when that is given up."""
        try:
            writer = await _connected(self._make())
        except (RedisError, OSError) as error:
            self._connecting = None
            self._lose(RedisConnectionError(str(error)))
            return
        self._connecting = None
        self.connections += 1
        self._line = _Line(writer, self._heard, self._ended)
        self._send(self._line)

    def _heard(self, reply: object) -> None:
        if not self._flight:  # it is nobody's, and might have been taken for another's
            self._disconnect()
            return
        if isinstance(reply, Exception):
            self._refused(reply)
        else:
            answer = self._flight.popleft().answer
            if not answer.done():  # its caller was cancelled
                answer.set_result(reply)
        if self._is_busy and not self._flight:
            self._landed()

    def _refused(self, reply: Exception) -> None:
        if isinstance(reply, RedisConnectionError):  # say, a server that is still loading its data
            self._lose(RedisConnectionError(str(reply)))
            return
        call = self._flight.popleft()
        if isinstance(reply, NoScriptError) and call.script is not None:
            self._forgotten.append(call)
            return
        self._is_stale = self._is_stale or isinstance(reply, ReadOnlyError)
        call.fail(reply)

    def _landed(self) -> None:
        """All have been answered: what the server did not know goes once more, then the next."""
        assert self._timer is not None, "a flight has a deadline"
        assert self._line is not None, "it came by it"
        if self._forgotten:
            self._flight.extend(self._forgotten)
            self.round_trips += 1
            self._line.send(b"".join([call.anew() for call in self._forgotten]))
            self._forgotten.clear()
            return
        self._timer.cancel()
        if self._is_stale:  # a failover has made this server a replica
            self._disconnect()
        self._depart()

    def _give_up(self) -> None:
        self._lose(RedisTimeoutError("no answer within the deadline"))

    def _ended(self, error: RedisError) -> None:
        """The connection has; where nothing is on its way nobody need know."""
        if self._flight:
            self._lose(RedisConnectionError(str(error)))
        else:
            self._disconnect()

    def _lose(self, error: RedisError) -> None:
        """Give up the connection with the flight and all who wait behind it."""
        lost = [*self._forgotten, *self._flight, *self._waiting]
        self._forgotten.clear()
        self._flight.clear()
        self._waiting.clear()
        self._is_busy = False
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._disconnect()
        for call in lost:
            call.fail(error)

    def _disconnect(self) -> None:
        line, self._line, self._is_stale = self._line, None, False
        if line is not None:
            line.drop()


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


async def _connected(connection: AbstractConnection) -> StreamWriter:
    """
    Connect as redis-py does, encrypted and signed in where the address says so. Its way to the
    server is ours then, as it has no way of its own to read many replies at once.
    """
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    writer, connection._writer = connection._writer, None  # noqa: SLF001 - no public way to it
    assert writer is not None, "it is connected"
    return writer
