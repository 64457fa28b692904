"""
The streams of Redis in which rows wait, one for each shard of the limits.

All processes read as one consumer of one group: Redis gives an entry to one reader at a time
whatever the reader is called, and a name of its own for each process would stay behind in every
stream. An entry that was read stays until it is taken out; who finds one that was read long ago
takes it over.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

GROUP = "sql"
CONSUMER = "mover"

READ_AT_ONCE = 128
"""Entries of one stream at most: about 8 MB of all 64."""

DEADLINE = 5.0
"""Seconds that Redis may take to answer; no request waits for it here."""


class Entry(NamedTuple):
    """One entry: where it is, and its fields."""

    stream: bytes
    number: bytes
    fields: dict[bytes, bytes]


class Streams:
    """
    A client of its own of the server at `url`; nothing is sent before the first use. Everything
    raises `redis.exceptions.RedisError` where Redis is out of reach.
    """

    def __init__(self, url: str, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._redis = Redis.from_url(
            url,
            protocol=2,
            driver_info=None,  # two commands less on each connection
            retry=Retry(NoBackoff(), 0),
            socket_timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
        )

    async def unread(self) -> list[Entry]:
        """What nobody has read yet. One round trip."""
        streams: dict[Any, Any] = dict.fromkeys(self._names, ">")
        command = self._redis.xreadgroup(GROUP, CONSUMER, streams, count=READ_AT_ONCE)
        answer = await cast("Any", command)  # its type allows for the client that does not wait
        return [
            Entry(stream, number, fields)
            for stream, found in answer or ()
            for number, fields in found
        ]

    async def abandoned(self, idle: float) -> list[Entry]:
        """What was read `idle` seconds ago or earlier, and is still there. One round trip."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in self._names:
                pipeline.xautoclaim(name, GROUP, CONSUMER, round(idle * 1000), count=READ_AT_ONCE)
            answers = await _answers(pipeline)
        return [
            Entry(name.encode(), number, fields)
            for name, answer in zip(self._names, answers, strict=True)
            for number, fields in answer[1]
        ]

    async def take_out(self, entries: Sequence[Entry]) -> None:
        """
        Forget them. One round trip.

        Deleted before they are acknowledged: after a crash between the two a claim finds nothing
        and forgets them, where the reverse would leave them in the stream for good.
        """
        numbers: dict[bytes, list[bytes]] = {}
        for entry in entries:
            numbers.setdefault(entry.stream, []).append(entry.number)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for stream, group in numbers.items():
                pipeline.xdel(stream, *group)
                pipeline.xack(stream, GROUP, *group)
            await _answers(pipeline)

    async def count(self) -> int:
        """How many there are, read or not. One round trip."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in self._names:
                pipeline.xlen(name)
            return sum(await _answers(pipeline))

    async def make(self) -> None:
        """Make what is not there yet: needed once for each Redis that begins empty."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in self._names:
                pipeline.xgroup_create(name, GROUP, id="0", mkstream=True)
            await _answers(pipeline, but="BUSYGROUP")  # is there already

    async def aclose(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


async def _answers(pipeline: Pipeline, *, but: str = "\n") -> list[Any]:
    """Raises the first error as Redis sent it, but for those that begin like that."""
    answers = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and not str(answer).startswith(but):
            raise answer
    return answers


def is_new(error: Exception) -> bool:
    """Whether the streams are to be made: Redis has begun empty."""
    return isinstance(error, ResponseError) and str(error).startswith("NOGROUP")
