"""
What the gateway keeps things in, opened together and closed in reverse.

A library that takes long to load is loaded only where its store is used.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from ..config import Config
from ..limits import Limiter, MemoryLimiter
from ..settings import Settings, StartRefused

if TYPE_CHECKING:
    from ..redis import Redis


class Stores:
    """
    Redis, where there is one, and the limiter that is kept on it or in this process.

    Making it opens nothing.
    """

    def __init__(self, settings: Settings, config: Config) -> None:
        self._redis = _redis(settings, config)
        self.limiter: Limiter = (
            MemoryLimiter() if self._redis is None else _shared(self._redis, config)
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Between its two ends everything is reached, or known to be out of reach."""
        async with AsyncExitStack() as stack:
            if self._redis is not None:
                stack.push_async_callback(self._redis.aclose)
            await stack.enter_async_context(self.limiter)
            yield

    def reachable(self) -> Mapping[str, bool]:
        """By name, whether each store that is used answers."""
        return {} if self._redis is None else {"redis": self.limiter.reachable}


def _redis(settings: Settings, config: Config) -> "Redis | None":
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    try:
        opened: Redis = import_module("gateway.redis").open_redis(
            url, deadline=config.limits.deadline
        )
    except ValueError:
        raise StartRefused("LOCKGATE_REDIS_URL is not the address of a Redis server") from None
    return opened


def _shared(redis: "Redis", config: Config) -> Limiter:
    limiter: Limiter = import_module("gateway.limits.redis").RedisLimiter(redis, config.limits)
    return limiter
