"""What tests of limits share: a Redis for all of them, and both limiters under one clock."""

from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
import redis

from gateway.limits.limiter import Limiter
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import Redis, open_redis
from tests.support.redis_server import RedisServer
from tests.support.spent import Ledger
from tests.support.ticker import Ticker


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Another client's view of the server, which is empty at first."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
async def client(redis_server: RedisServer, raw: redis.Redis) -> AsyncIterator[Redis]:
    async with open_redis(redis_server.url, deadline=5) as client:
        yield client


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer() as server:
        yield server


@pytest.fixture
async def mortal_client(mortal: RedisServer) -> AsyncIterator[Redis]:
    async with open_redis(mortal.url, deadline=1) as client:
        await client.ping(within=5)
        yield client


@pytest.fixture
def ticker() -> Ticker:
    return Ticker()


@pytest.fixture
def ledger() -> Ledger:
    """In which nothing was used, unless a test says so."""
    return Ledger()


@pytest.fixture
def shared(client: Redis, ticker: Ticker, ledger: Ledger) -> RedisLimiter:
    """On Redis, not opened: nothing runs in the background."""
    return RedisLimiter(
        client,
        LimitsSettings(lease=15),
        clock=ticker.seconds,
        now=ticker,
        random=Random(1),
        books=ledger.books,
    )


@pytest.fixture
def mortal_limiter(mortal_client: Redis, ticker: Ticker) -> RedisLimiter:
    """On a server that the test may kill, not opened."""
    return RedisLimiter(
        mortal_client, LimitsSettings(lease=15), clock=ticker.seconds, now=ticker, random=Random(1)
    )


@pytest.fixture(params=["memory", "redis"])
def limiter(request: pytest.FixtureRequest, ticker: Ticker, ledger: Ledger) -> Limiter:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryLimiter(clock=ticker.ns, wall=ticker.ns, books=ledger.books)
    limiter: RedisLimiter = request.getfixturevalue("shared")
    return limiter
