"""
Row 87: two versions of Lockgate on one Redis, while one replaces the other.

A script is known by the digest of its text, so neither version can run the other's; what both
keep they keep under `lg1:`, and another meaning needs another name. Rows of the ledger pass over
what they do not know (tests/gateway/ledger/test_entry.py).
"""

from collections.abc import Iterator
from random import Random

import pytest
import redis

from gateway.contract.errors import LimitExceeded
from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Reservation, Sliding
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import Script, open_redis
from tests.support.redis_server import RedisServer

REQUESTS, TOKENS, PLACES = 60, 100_000, 8
LIMITS = (
    Limit("tenant:acme", "requests", REQUESTS, Sliding(bucket_ms=60_000, buckets=60)),
    Limit("tenant:acme", "tokens", TOKENS, Calendar("month")),
    Limit("tenant:acme", "concurrency", PLACES, AtOnce()),
)
FOREIGN = "lg2:{s1}:acme:m"
"""What a version with another meaning might keep."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def both(server: RedisServer) -> tuple[RedisLimiter, RedisLimiter]:
    """A limiter, and one with scripts of which none has the text of the other's."""
    old, new = (
        RedisLimiter(open_redis(server.url, deadline=5), LimitsSettings(deadline=5))
        for _ in range(2)
    )
    for name, script in vars(new._scripts).items():
        if isinstance(script, Script):
            setattr(new._scripts, name, Script(f"{script.text}\n-- another version"))
    return old, new


async def test_87_two_versions_keep_one_count_and_touch_nothing_of_a_third(
    server: RedisServer, both: tuple[RedisLimiter, RedisLimiter]
) -> None:
    chance = Random(87)
    held: list[Reservation] = []
    admitted = used = 0
    with redis.Redis.from_url(server.url) as raw:
        raw.hset(FOREIGN, "requests", "another meaning")
        async with both[0]._scripts.redis, both[1]._scripts.redis, both[0], both[1]:
            for number in range(150):
                asked = Ask(Amounts(tokens=100))
                try:
                    held.append(
                        await chance.choice(both).reserve(f"r{number}", "acme", LIMITS, asked)
                    )
                except LimitExceeded:
                    assert len(held) == PLACES or admitted == REQUESTS
                else:
                    admitted += 1
                while held and chance.random() < 0.5:
                    ending = held.pop(chance.randrange(len(held)))
                    spent = chance.randrange(100)
                    used += spent
                    await _owner(both, ending).settle(ending, Amounts(tokens=spent))
            standings = [await each.standings("acme", LIMITS) for each in both]

        left = [REQUESTS - admitted, TOKENS - used - 100 * len(held), PLACES - len(held)]
        assert [[each.remaining for each in told] for told in standings] == [left, left]
        assert admitted == REQUESTS
        assert raw.hgetall(FOREIGN) == {b"requests": b"another meaning"}
        raw.delete(FOREIGN)
        assert all(key.startswith(b"lg1:") for key in raw.scan_iter())
    assert not _digests(both[0]) & _digests(both[1])


def _owner(both: tuple[RedisLimiter, RedisLimiter], held: Reservation) -> RedisLimiter:
    return next(each for each in both if held.request_id in each._holdings.open)


def _digests(limiter: RedisLimiter) -> set[str]:
    """Of its scripts, by which Redis knows them."""
    return {each.sha for each in vars(limiter._scripts).values() if isinstance(each, Script)}
