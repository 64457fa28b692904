"""
No operation on a tenant reads or writes a key of another's: each tenant's requests go by a Redis
user that may touch that tenant's keys and what their shard shares, and nothing else.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest
import redis

from gateway.contract.errors import LimitExceeded
from gateway.limits.keys import ledger_key, shard_keys, shard_of, tenant_prefix
from gateway.limits.model import Amounts, Ask, Reservation
from gateway.limits.redis import RedisLimiter
from gateway.limits.scripts import Ending
from gateway.limits.settings import LimitsSettings
from gateway.redis import open_redis
from tests.proofs.world import TENANTS, Setting
from tests.support.redis_server import RedisServer

STEPS = 300
SETTING = Setting(
    requests=8, tokens=200, daily=3000, spend=3000, monthly=9000, places=4, lease=4000, shape=0
)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server, redis.Redis.from_url(server.url) as raw:
        for tenant in TENANTS:
            shard = shard_of(tenant)
            own = tenant_prefix(tenant, shard) + "*"
            raw.acl_setuser(
                tenant,
                enabled=True,
                nopass=True,
                keys=[own, *shard_keys(shard), ledger_key(shard)],
                commands=["+@all"],
            )
        yield server


async def live(limiter: RedisLimiter, tenant: str, chance: Random) -> int:
    """One tenant's requests, of every kind and to every end; how many were admitted."""
    limits, held, admitted = tuple(SETTING.limits(tenant)), list[Reservation](), 0
    for number in range(STEPS):
        match chance.choice(("reserve", "reserve", "settle", "extend", "renew", "cancel", "ask")):
            case "reserve":
                ask = Ask(Amounts(chance.randint(1, 20), 5), Amounts(1, 1), cap=20)
                with suppress(LimitExceeded):
                    held.append(await limiter.reserve(f"{tenant}{number}", tenant, limits, ask))
                    admitted += 1
            case "settle" if held:
                ended = held.pop(chance.randrange(len(held)))
                await limiter.settle(ended, Amounts(9, 9), entry=b"row")
            case "extend" if held:
                with suppress(LimitExceeded):
                    await limiter.extend(held[0], Amounts(50, 50))
            case "cancel" if held:
                limiter._unfinished.later(Ending(held.pop(), "C", Amounts()))
                await limiter._unfinished.repeat()
            case "renew":
                await limiter._leases.renew()
            case _:
                await limiter.standings(tenant, limits)
    return admitted


async def test_q11_isolation_no_operation_touches_a_key_of_another_tenant(
    server: RedisServer,
) -> None:
    for tenant in TENANTS:
        url = server.url.replace("unix://", f"unix://{tenant}:any@")
        async with open_redis(url, deadline=5) as client:
            limiter = await asyncio.to_thread(RedisLimiter, client, LimitsSettings(lease=60))
            assert await live(limiter, tenant, Random(tenant)) > 10
        assert limiter.counts.store_failures == 0
    with redis.Redis.from_url(server.url) as raw:
        assert raw.acl_log() == []


async def test_a_user_of_one_tenant_can_not_serve_another(server: RedisServer) -> None:
    """So that the test above would notice."""
    acme, other = TENANTS
    async with open_redis(server.url.replace("unix://", f"unix://{acme}:any@")) as client:
        settings = LimitsSettings(on_store_error="allow", budgets_on_store_error="refuse")
        limiter = await asyncio.to_thread(RedisLimiter, client, settings)
        limits = tuple(SETTING.limits(other)[:1])
        await limiter.reserve("a", other, limits, Ask(Amounts()))
    assert limiter.counts.store_failures == 1
