"""
The book of all processes, on Redis.

Kills lie beside the tenant's limits, in its shard: `lg1:{s17}:<tenant>:poison`, gone by itself
when the last one no longer counts. A flag travels with whatever is sent in the same tick of the
loop, so that where limits are reserved then it costs no round trip; requests of one tenant that
travel together ask once.

While Redis is out of reach, or known to be, this process goes by the kills that it has seen
itself; what was killed meanwhile the others never hear of.

Hot: `flag` runs once a request.
"""

import time
from asyncio import Future, shield
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from ..redis import Redis, Script
from .book import MOST, Flag
from .memory import MemoryBook

_KILLS = Script((Path(__file__).parent / "kills.lua").read_text(encoding="utf-8"))
_ANY = Script("#!lua flags=no-writes\nreturn redis.call('EXISTS', KEYS[1])")


class SharedBook:
    """
    Kills of all processes. It does not close `redis`.

    `prefix` is what all keys of a tenant begin with; `reachable` says whether Redis is worth
    asking. `window` and `clock` are in seconds; `now` is the scripts' clock in milliseconds since
    1970, 0 for Redis's own.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: Callable[[str], str],
        window: float,
        *,
        reachable: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = lambda: 0,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._window = round(window * 1000)
        self._reachable = reachable
        self._now = now
        self._own = MemoryBook(window, clock=clock)
        self._asked: dict[str, Future[Any]] = {}
        self._asked_after = 0

    def flag(self, tenant: str) -> Flag | None:
        own = self._own.flag(tenant)
        if not self._reachable():
            return own
        return _Asked(self._question(tenant), own)

    async def kills(self, tenant: str, fingerprint: str) -> int:
        count = await self._run("look", tenant, fingerprint)
        return await self._own.kills(tenant, fingerprint) if count is None else count

    async def add(self, tenant: str, fingerprint: str, backend: str) -> int:
        own = await self._own.add(tenant, fingerprint, backend)
        self._asked.pop(tenant, None)  # its answer is of before
        count = await self._run("add", tenant, fingerprint, backend)
        return own if count is None else count

    async def acquit(self, tenant: str, fingerprint: str) -> None:
        await self._own.acquit(tenant, fingerprint)
        await self._run("acquit", tenant, fingerprint)

    async def _run(self, what: str, tenant: str, fingerprint: str, backend: str = "") -> int | None:
        """What kills.lua answers, None where it was not reached."""
        if not self._reachable():
            return None
        arguments = (what, self._now(), self._window, fingerprint, backend, MOST)
        try:
            count: int = await self._redis.run(_KILLS, (self._key(tenant),), arguments)
        except RedisError:
            return None
        return count

    def _question(self, tenant: str) -> Future[Any]:
        """Whether a tenant has kills: one question for all who ask until it is sent."""
        if self._asked_after != self._redis.round_trips:
            self._asked_after, self._asked = self._redis.round_trips, {}
        question = self._asked.get(tenant)
        if question is None or question.done():
            question = self._redis.run(_ANY, (self._key(tenant),), ())
            question.add_done_callback(_seen)
            self._asked[tenant] = question
        return question

    def _key(self, tenant: str) -> str:
        return f"{self._prefix(tenant)}poison"


class _Asked:
    """A flag that Redis was asked for, and this process's own in case it does not answer."""

    # The answer may be another's too, whom no cancellation here may reach.

    __slots__ = ("_answer", "_own")

    def __init__(self, answer: Future[Any], own: Flag | None) -> None:
        self._answer = answer
        self._own = own

    async def is_up(self) -> bool:
        answer = self._answer
        try:
            return bool(answer.result() if answer.done() else await shield(answer))
        except RedisError:
            return self._own is not None and await self._own.is_up()


def _seen(answer: Future[Any]) -> None:
    """Nobody need wait for it: a request that was refused by a limit does not."""
    if not answer.cancelled():
        answer.exception()
