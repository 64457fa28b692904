"""
Whether the server may forget what it keeps for limits: where its memory is bounded and its policy
is not `noeviction` it drops counters and leases when it is full, and tells nobody.

It is asked over each new connection, and now and then: its operator may change it at any time. A
server that does not say, or may not, is taken to keep everything.
"""

from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from ..redis import Redis, open_redis

AGAIN = 60.0
"""Seconds until a server is asked once more."""

_log = structlog.get_logger()


class Eviction:
    """
    What is known of a server. `clock` is in seconds and steady.

    `policy` is the one by which it drops keys, empty if it drops none.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float]) -> None:
        self.policy = ""
        self._redis = redis
        self._clock = clock
        self._connections = 0
        self._asked = 0.0

    async def look(self) -> None:
        """Ask, if there is reason to; whoever operates it is told of a change. Never raises."""
        now, connections = self._clock(), self._redis.connections
        if connections == self._connections and now - self._asked < AGAIN:
            return
        self._connections, self._asked = connections, now
        try:
            policy = await policy_of(self._redis)
        except RedisError:
            return
        if policy and not self.policy:
            _log.warning("redis_evicts", policy=policy, needed="noeviction")
        elif self.policy and not policy:
            _log.info("redis_evicts_no_more")
        self.policy = policy


async def policy_at(url: str, *, within: float) -> str:
    """
    The policy by which the server at that address drops keys. Empty if it drops none, or if it
    can not be asked within so many seconds.
    """
    async with open_redis(url) as redis:
        try:
            return await policy_of(redis, within=within)
        except RedisError:
            return ""


async def policy_of(redis: Redis, *, within: float | None = None) -> str:
    """
    The policy by which a server drops keys, empty if it drops none; `within` is in seconds.

    Raises:
        RedisError: it was not reached, or may not say.
    """
    told = await redis.info("memory", within=within)
    policy = told.get("maxmemory_policy", "noeviction")
    is_bounded = told.get("maxmemory", "0") != "0"
    return policy if is_bounded and policy != "noeviction" else ""
