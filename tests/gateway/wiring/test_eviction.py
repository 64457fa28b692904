"""Production refuses a Redis that forgets limits, and nothing else is refused."""

import pytest

from gateway.settings import Settings, StartRefused
from gateway.wiring.eviction import refuse_eviction
from tests.support.redis_server import RedisServer

SECRETS = {
    "admin_token": "x" * 32,
    "key_pepper": "x" * 32,
    "jwt_secret": "x" * 32,
}
BOUNDED = ("--maxmemory", "100mb", "--maxmemory-policy")


def settings(environment: str, redis_url: str | None) -> Settings:
    return Settings.model_validate({"environment": environment, "redis_url": redis_url, **SECRETS})


async def test_65_production_does_not_start_on_a_redis_that_evicts() -> None:
    with RedisServer(*BOUNDED, "allkeys-lru") as server:
        with pytest.raises(StartRefused, match="must be noeviction") as refused:
            await refuse_eviction(settings("production", server.url))
        await refuse_eviction(settings("development", server.url))

    assert len(str(refused.value).splitlines()) == 1
    assert server.url not in str(refused.value)


async def test_65_it_starts_on_one_that_keeps_everything_is_away_or_is_none() -> None:
    with RedisServer(*BOUNDED, "noeviction") as server:
        await refuse_eviction(settings("production", server.url))
    await refuse_eviction(settings("production", server.url))
    await refuse_eviction(settings("production", None))
