"""Idempotency in one process, and shared on a real Redis: the same tests for both."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import redis

from gateway.idempotency import Claim, Idempotency, IdempotencySettings, Kept, Ticket
from gateway.idempotency.shelf import RedisShelf
from gateway.redis import Redis, open_redis
from tests.support.redis_server import RedisServer

PATIENT = 30.0
"""Seconds in which what must come comes, on a machine that is busy."""


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Store:
    """Makes processes that know of each other what their kind allows: `is_shared` says whether."""

    is_shared: bool
    stack: AsyncExitStack
    url: str = ""
    clocks: list[Clock] = field(default_factory=list)

    async def process(self, **settings: float) -> Idempotency:
        """One more process; its settings are as given, over short times."""
        chosen = IdempotencySettings.model_validate({"lease": 30, **settings})
        shelf = None
        if self.is_shared:
            client = await self.stack.enter_async_context(open_redis(self.url, deadline=10))
            shelf = shelf_on(client, chosen)
        self.clocks.append(Clock())
        made = Idempotency(chosen, shelf=shelf, clock=self.clocks[-1])
        return await self.stack.enter_async_context(made)


def shelf_on(client: Redis, settings: IdempotencySettings) -> RedisShelf:
    """A shelf whose keys lie where a tenant's do."""
    return RedisShelf(client, settings, lambda tenant: f"lg1:{{s0}}:{tenant}:")


def ticket(name: str = "key", body: str = "{}", *, tenant: str = "acme", key: str = "k") -> Ticket:
    """Of a request with that idempotency key and body."""
    return Ticket.of((tenant, key), "/v1/chat/completions", name.encode(), body.encode())


async def claimed(idempotency: Idempotency, wanted: Ticket, owner: str = "first") -> Claim:
    """The right to run it, which must be free."""
    found = await idempotency.claim(wanted, owner, within=PATIENT)
    assert isinstance(found, Claim)
    return found


async def answered(
    idempotency: Idempotency, wanted: Ticket, body: bytes = b"answer", owner: str = "first"
) -> None:
    """Run it, with that answer."""
    async with await claimed(idempotency, wanted, owner) as claim:
        claim.add(body)
        await claim.keep(owner, 200, ((b"content-type", b"text/plain"),))


async def kept(idempotency: Idempotency, wanted: Ticket, owner: str = "second") -> Kept:
    """Its answer, which must be there."""
    found = await idempotency.claim(wanted, owner, within=PATIENT)
    assert isinstance(found, Kept)
    return found


@pytest.fixture(scope="session")
def idempotency_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def raw(idempotency_redis: RedisServer) -> Iterator[redis.Redis]:
    """The same server, empty, seen from outside."""
    with redis.Redis.from_url(idempotency_redis.url) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        yield client


@pytest.fixture
async def client(idempotency_redis: RedisServer, raw: redis.Redis) -> AsyncIterator[Redis]:
    async with open_redis(idempotency_redis.url, deadline=10) as client:
        yield client


@pytest.fixture
async def shared(idempotency_redis: RedisServer, raw: redis.Redis) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        yield Store(True, stack, idempotency_redis.url)


@pytest.fixture
async def alone() -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        yield Store(False, stack)


@pytest.fixture(params=["alone", "shared"])
def store(request: pytest.FixtureRequest) -> Store:
    made: Store = request.getfixturevalue(request.param)
    return made
