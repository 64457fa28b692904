"""
Whether Redis answers: what fails is counted, and a probe finds out when it is back.
"""

from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from ..contract.errors import StoreUnavailable
from ..redis import Redis
from .breaker import Breaker
from .counts import Counts
from .eviction import Eviction

PROBE = 1.0
"""Seconds that a probe may take."""

_log = structlog.get_logger()


class Contact:
    """
    What is known of a server. `clock` is in seconds and steady.

    `in_doubt` says that leases may have ended because the server was out of reach, through no
    fault of their holders.
    """

    def __init__(self, redis: Redis, counts: Counts, clock: Callable[[], float]) -> None:
        self.in_doubt = False
        self.clock = clock
        self.breaker = Breaker(clock)
        self.eviction = Eviction(redis, clock)
        self._redis = redis
        self._counts = counts

    @property
    def is_open(self) -> bool:
        """Whether the server is to be left alone."""
        return self.breaker.is_open

    @property
    def failures(self) -> int:
        """Calls that came to nothing so far."""
        return self._counts.store_failures

    def failed(self, error: BaseException) -> None:
        """A call came to nothing; after a few the server is left alone."""
        if isinstance(error, StoreUnavailable):
            self._counts.unseeded += 1  # it was the ledger that did not answer
            return
        if not isinstance(error, RedisError):
            # say, a record that another version has stored: all others must still be looked after
            _log.error("limits_call_failed", error=repr(error))
            return
        self._counts.store_failures += 1
        was_open = self.breaker.is_open
        self.breaker.failed()
        if self.breaker.is_open and not was_open:
            _log.warning("limits_store_unreachable", error=str(error))

    async def probe(self) -> None:
        """Reach the server, or leave it alone from now on."""
        try:
            await self._redis.ping(within=PROBE)
        except RedisError as error:
            if not self.breaker.is_open:
                _log.warning("limits_store_unreachable", error=str(error))
            self.breaker.trip()
            self.in_doubt = True
            return
        if self.breaker.is_open:
            _log.info("limits_store_reached")
        self.breaker.reached()
