"""Whether a real server may forget limits is found out, told once, and looked at again."""

from collections.abc import AsyncIterator

import pytest
import redis
from structlog.testing import capture_logs

from gateway.limits.eviction import AGAIN, Eviction, policy_at
from gateway.limits.redis import RedisLimiter
from gateway.redis import Redis
from tests.support.redis_server import RedisServer
from tests.support.ticker import Ticker

POLICIES = (
    *("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random"),
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
)


@pytest.fixture
async def operator(mortal: RedisServer) -> AsyncIterator[redis.Redis]:
    """Who may change the server."""
    with redis.Redis.from_url(mortal.url) as operator:
        yield operator


def configure(operator: redis.Redis, policy: str, memory: int = 100_000_000) -> None:
    operator.config_set("maxmemory-policy", policy)
    operator.config_set("maxmemory", memory)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("memory", [0, 100_000_000])
async def test_65_a_server_forgets_if_its_memory_is_bounded_and_its_policy_says_so(
    mortal: RedisServer, operator: redis.Redis, policy: str, memory: int
) -> None:
    configure(operator, policy, memory)

    told = await policy_at(mortal.url, within=5)

    assert told == (policy if memory and policy != "noeviction" else "")


async def test_a_change_is_told_once_and_its_end_too(
    mortal_client: Redis, operator: redis.Redis, ticker: Ticker
) -> None:
    eviction = Eviction(mortal_client, ticker.seconds)
    with capture_logs() as told:
        for policy in ("allkeys-lru", "allkeys-lfu", "noeviction", "noeviction"):
            configure(operator, policy)
            for _ in range(3):
                await eviction.look()
            assert eviction.policy == ("" if policy == "noeviction" else policy)
            ticker.ms += int(AGAIN * 1000)

    assert [each["event"] for each in told] == ["redis_evicts", "redis_evicts_no_more"]
    assert told[0]["policy"] == "allkeys-lru"


async def test_a_server_is_asked_over_each_new_connection_and_seldom_otherwise(
    mortal_client: Redis, operator: redis.Redis, mortal: RedisServer, ticker: Ticker
) -> None:
    eviction = Eviction(mortal_client, ticker.seconds)
    for _ in range(10):
        await eviction.look()
    assert operator.info("commandstats")["cmdstat_info"]["calls"] == 1

    mortal.kill()
    mortal.start()
    configure(operator, "allkeys-lru")
    with pytest.raises(redis.RedisError):
        await mortal_client.ping(within=5)  # over the old connection
    await mortal_client.ping(within=5)
    await eviction.look()

    assert eviction.policy == "allkeys-lru"


async def test_a_server_that_may_not_say_is_taken_to_keep_everything(
    mortal: RedisServer, mortal_client: Redis, operator: redis.Redis, ticker: Ticker
) -> None:
    configure(operator, "allkeys-lru")
    operator.execute_command("ACL", "SETUSER", "default", "-info")
    eviction = Eviction(mortal_client, ticker.seconds)

    await eviction.look()

    assert eviction.policy == await policy_at(mortal.url, within=5) == ""


async def test_a_server_that_is_gone_keeps_nobody_waiting(mortal: RedisServer) -> None:
    mortal.kill()
    assert await policy_at(mortal.url, within=5) == ""

    mortal.start()
    mortal.freeze()
    assert await policy_at(mortal.url, within=0.05) == ""


async def test_a_limiter_knows_from_its_opening_on(
    mortal_limiter: RedisLimiter, operator: redis.Redis
) -> None:
    configure(operator, "volatile-ttl")

    async with mortal_limiter:
        assert mortal_limiter.evicts == "volatile-ttl"
