"""The book of all processes: what they tell one another, what it costs, what an outage does."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis

from gateway.limits.keys import shard_of
from gateway.limits.model import Amounts, Ask, AtOnce, Limit
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.quarantine.shared import SharedBook
from gateway.redis import Redis, open_redis
from tests.support.kills import is_up
from tests.support.redis_server import RedisServer

Replica = Callable[..., SharedBook]


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def limiter(client: Redis) -> RedisLimiter:
    """It reads its scripts, which no test may do in its loop."""
    return RedisLimiter(client, LimitsSettings())


@pytest.fixture
async def mortal_client(mortal: RedisServer) -> AsyncIterator[Redis]:
    async with open_redis(mortal.url, deadline=1) as client:
        await client.ping(within=5)
        yield client


async def test_a_kill_is_known_to_every_replica_as_soon_as_it_is_written(replica: Replica) -> None:
    one, other = replica(), replica()

    await one.add("acme", "f1", "a")

    assert await is_up(other.flag("acme"))
    assert await other.add("acme", "f1", "b") == 2
    assert await one.kills("acme", "f1") == 2


async def test_an_acquittal_is_so_everywhere(replica: Replica) -> None:
    one, other = replica(), replica()
    await one.add("acme", "f1", "a")

    await other.acquit("acme", "f1")

    assert not await is_up(one.flag("acme"))
    assert await one.kills("acme", "f1") == 0


async def test_a_flag_shares_the_round_trip_of_a_reservation(
    client: Redis, limiter: RedisLimiter, replica: Replica
) -> None:
    book = replica()
    limits = (Limit("tenant:acme", "concurrency", 9, AtOnce()),)
    await limiter.reserve("r0", "acme", limits, Ask(Amounts()))
    await is_up(book.flag("acme"))  # both scripts are known to the server from now on
    before = client.round_trips

    flag = book.flag("acme")
    await limiter.reserve("r1", "acme", limits, Ask(Amounts()))
    up = await is_up(flag)

    assert client.round_trips - before == 1
    assert not up


async def test_requests_of_one_tenant_that_travel_together_ask_once(
    raw: redis.Redis, replica: Replica
) -> None:
    one, other = replica(), replica()
    await is_up(one.flag("acme"))  # the script is known to the server from now on
    before = raw.info("commandstats")["cmdstat_evalsha"]["calls"]

    flags = [one.flag("acme") for _ in range(5)]
    assert not any([await is_up(each) for each in flags])
    await other.add("acme", "f1", "a")

    assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] - before == 2
    assert await is_up(one.flag("acme"))


async def test_a_question_from_before_a_kill_is_not_shared_after_it(
    client: Redis, replica: Replica
) -> None:
    book = replica()
    await is_up(book.flag("acme"))  # there is a connection now
    flying = asyncio.create_task(client.ping(within=5))
    for _ in range(2):  # it is on its way: what follows waits for its answer
        await asyncio.sleep(0)

    early = book.flag("acme")
    adding = asyncio.create_task(book.add("acme", "f1", "a"))
    await asyncio.sleep(0)
    late = book.flag("acme")

    assert [await is_up(early), await is_up(late)] == [False, True]
    await asyncio.gather(flying, adding)


async def test_who_leaves_takes_no_answer_from_another(replica: Replica) -> None:
    book = replica()
    leaves, stays = book.flag("acme"), book.flag("acme")
    leaving = asyncio.create_task(is_up(leaves))
    await asyncio.sleep(0)

    leaving.cancel()

    assert not await is_up(stays)
    assert leaving.cancelled()


async def test_its_key_lies_in_the_tenants_shard_and_goes_by_itself(
    replica: Replica, raw: redis.Redis
) -> None:
    await replica().add("acme", "f1", "a")

    (key,) = raw.keys()
    assert key == f"lg1:{{s{shard_of('acme')}}}:acme:poison"
    assert 0 < raw.pttl(key) <= 600_000


async def test_without_redis_a_process_goes_by_what_it_has_seen_itself(
    mortal: RedisServer, mortal_client: Redis, replica: Replica
) -> None:
    book = replica(mortal_client)
    await book.add("acme", "f1", "a")
    mortal.kill()

    assert await is_up(book.flag("acme"))
    assert not await is_up(book.flag("beta"))
    assert await book.kills("acme", "f1") == 1
    assert await book.add("acme", "f1", "b") == 2
    await book.acquit("acme", "f1")
    assert await book.kills("acme", "f1") == 0


async def test_a_redis_that_is_known_to_be_away_is_not_asked(
    client: Redis, replica: Replica
) -> None:
    book = replica(reachable=False)

    assert await book.add("acme", "f1", "a") == 1
    assert await is_up(book.flag("acme"))
    assert await book.kills("acme", "f1") == 1
    assert client.round_trips == 0


async def test_a_redis_that_hangs_holds_nobody_up_beyond_its_deadline(
    mortal: RedisServer, replica: Replica
) -> None:
    async with open_redis(mortal.url, deadline=0.2) as client:
        book = replica(client)
        await client.ping(within=5)
        mortal.freeze()
        try:
            async with asyncio.timeout(10):
                assert not await is_up(book.flag("acme"))
                assert await book.add("acme", "f1", "a") == 1
        finally:
            mortal.thaw()


async def test_a_flag_that_nobody_waits_for_leaves_no_complaint(
    mortal: RedisServer, mortal_client: Redis, replica: Replica
) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    book = replica(mortal_client)
    mortal.kill()

    book.flag("acme")
    await book.kills("acme", "f1")  # in the same flight
    gc.collect()
    await asyncio.sleep(0)

    assert complaints == []
