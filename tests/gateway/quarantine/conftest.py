"""What tests of the quarantine share: a Redis, and both books under one clock."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis

from gateway.limits.keys import shard_of, tenant_prefix
from gateway.quarantine import Book, MemoryBook
from gateway.quarantine.shared import SharedBook
from gateway.redis import Redis, open_redis
from tests.support.redis_server import RedisServer
from tests.support.ticker import Ticker

WINDOW = 600.0

Replica = Callable[..., SharedBook]


def prefix(tenant: str) -> str:
    return tenant_prefix(tenant, shard_of(tenant))


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
def ticker() -> Ticker:
    return Ticker()


@pytest.fixture
def replica(client: Redis, ticker: Ticker) -> Replica:
    """Makes the book of one more process."""

    def make(redis: Redis = client, *, reachable: bool = True) -> SharedBook:
        return SharedBook(
            redis, prefix, WINDOW, reachable=lambda: reachable, clock=ticker.seconds, now=ticker
        )

    return make


@pytest.fixture(params=["memory", "redis"])
def book(request: pytest.FixtureRequest, ticker: Ticker) -> Book:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryBook(WINDOW, clock=ticker.seconds)
    replica: Replica = request.getfixturevalue("replica")
    return replica()
