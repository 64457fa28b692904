"""
No admitted request is missing from the ledger and none is in it twice, whatever dies: gateways,
those that move rows, PostgreSQL. Afterwards ledger, counters and what was used agree to the unit.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import pytest
from redis.asyncio import Redis

from gateway.ledger.entry import entry_of, note_of
from gateway.ledger.ledger import Ledger
from gateway.ledger.mover import Mover
from gateway.ledger.settings import LedgerSettings
from gateway.ledger.streams import Streams
from gateway.limits import Amounts, Ask, Limit
from gateway.limits.keys import SHARDS, ledger_key
from gateway.limits.limiter import Books
from gateway.limits.model import Calendar, Reservation
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import open_redis
from gateway.store.database import Database
from gateway.store.ledger import Chosen, rows
from gateway.store.ledger_rows import Row
from gateway.store.tables import metadata
from gateway.telemetry.record import Record
from tests.support.ledger_rows import request_id
from tests.support.postgres_server import PostgresServer
from tests.support.records import record
from tests.support.redis_server import RedisServer
from tests.support.simulator import eventually

TENANTS = ("acme", "other")
MONTH = Calendar("month")
LEASE, SWEEP, MOVE = 0.6, 0.1, 0.1
HELD = Amounts(tokens=100, cost=1_000)


def limits_of(tenant: str) -> tuple[Limit, ...]:
    scope = f"tenant:{tenant}"
    return (
        Limit(scope, "requests", 10**6, MONTH),
        Limit(scope, "tokens", 10**9, MONTH),
        Limit(scope, "money", 10**12, MONTH),
    )


@dataclass
class Truth:
    """What was really used: by whom, how much."""

    settled: dict[str, Record] = field(default_factory=dict)
    lost: dict[str, tuple[Record, Reservation]] = field(default_factory=dict)


class Gateways:
    """Some gateways on one Redis, without their HTTP side."""

    def __init__(self, redis: str, database: Database, stack: AsyncExitStack) -> None:
        self.truth = Truth()
        self._redis = redis
        self._database = database
        self._stack = stack
        self._dice = Random(7)
        self._number = 0

    async def limiter(self) -> RedisLimiter:
        ledger = Ledger(self._database, LedgerSettings(flush=0.05))
        await self._stack.enter_async_context(ledger)
        client = await self._stack.enter_async_context(open_redis(self._redis, deadline=5.0))
        settings = LimitsSettings(lease=LEASE, sweep=SWEEP, deadline=5.0)
        books = Books(spent=ledger, outbox=ledger.put)
        # It reads its scripts, which is done before there is a loop elsewhere.
        limiter = await asyncio.to_thread(RedisLimiter, client, settings, books=books)
        return await self._stack.enter_async_context(limiter)

    async def one(self, limiter: RedisLimiter, *, dies: bool = False) -> None:
        """One request, which ends in a moment or never does."""
        dice, self._number = self._dice, self._number + 1
        made = record(
            request_id=request_id(self._number), at=datetime.now(UTC),
            tenant=dice.choice(TENANTS), prompt_tokens=dice.randrange(50),
            completion_tokens=dice.randrange(50), cost=dice.randrange(1000),
        )  # fmt: skip
        reservation = await limiter.reserve(
            made.request_id, made.tenant, limits_of(made.tenant), Ask(HELD), note=note_of(made)
        )
        if dies:
            self.truth.lost[made.request_id] = made, reservation
            return
        await asyncio.sleep(dice.random() * 0.05)
        await self.settle(limiter, made, reservation)

    async def settle(self, limiter: RedisLimiter, made: Record, held: Reservation) -> None:
        used = Amounts(made.prompt_tokens + made.completion_tokens, made.cost)
        await limiter.settle(held, used, entry=entry_of(made))
        self.truth.settled[made.request_id] = made

    async def rise(self, limiter: RedisLimiter, count: int) -> None:
        """So many of those that were taken for dead settle after all."""
        for lost in list(self.truth.lost)[:count]:
            await self.settle(limiter, *self.truth.lost.pop(lost))


@asynccontextmanager
async def moved(url: str, redis: str, count: int) -> AsyncIterator[list[Mover]]:
    async with AsyncExitStack() as stack:
        movers = []
        for _ in range(count):
            names = [ledger_key(shard) for shard in range(SHARDS)]
            streams = await stack.enter_async_context(Streams(redis, names))
            database = await stack.enter_async_context(Database(url, timeout=2.0))
            moving = Mover(streams, database, LedgerSettings(move=MOVE), claim_after=2.0)
            movers.append(await stack.enter_async_context(moving))
        yield movers


async def kept(database: Database) -> list[Row]:
    async with database.reading() as connection:
        return await rows(connection, Chosen(), limit=100_000)


async def until(database: Database, *, rows: int, provisional: int) -> None:
    async with asyncio.timeout(60):
        while True:
            found = await kept(database)
            if (len(found), sum(row.provisional for row in found)) == (rows, provisional):
                return
            await asyncio.sleep(0.05)


def used_of(rows: list[Row], tenant: str) -> tuple[int, int, int]:
    own = [row for row in rows if row.tenant == tenant]
    tokens = sum(row.prompt_tokens + row.completion_tokens for row in own)
    return len(own), tokens, sum(row.cost for row in own)


async def counted(limiter: RedisLimiter, tenant: str) -> tuple[int, ...]:
    standings = await limiter.standings(tenant, limits_of(tenant))
    return tuple(each.limit.amount - each.remaining for each in standings)


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    server = PostgresServer()
    await asyncio.to_thread(server.start)
    async with Database(server.url) as database, database.writing() as connection:
        await connection.run_sync(metadata.create_all)
    yield server
    await asyncio.to_thread(server.close)


def check_rows(found: list[Row], truth: Truth) -> None:
    """Each admitted request once, as what it was."""
    expected = [*truth.settled, *truth.lost]
    assert sorted(row.request_id for row in found) == sorted(expected)
    assert {row.request_id for row in found if row.provisional} == set(truth.lost)
    for row in found:
        if row.request_id in truth.settled:
            made = truth.settled[row.request_id]
            used = (made.prompt_tokens, made.completion_tokens, made.cost)
            assert (row.prompt_tokens, row.completion_tokens, row.cost) == used


async def test_ledger_counters_and_usage_agree_after_everything_died(
    postgres: PostgresServer,
) -> None:
    async def load() -> None:
        for n in range(60):
            async with asyncio.TaskGroup() as group:
                for limiter in limiters * 5:
                    group.create_task(gateways.one(limiter))
                if n % 2 == 0:
                    group.create_task(gateways.one(doomed, dies=True))

    async def outages() -> None:
        for _ in range(2):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(postgres.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(postgres.start)

    with RedisServer() as redis:
        async with (
            Database(postgres.url) as database,
            AsyncExitStack() as stack,
            moved(postgres.url, redis.url, 2),
        ):
            gateways = Gateways(redis.url, database, stack)
            limiters = [await gateways.limiter() for _ in range(2)]
            doomed = await gateways.limiter()
            await asyncio.gather(load(), outages())
            await doomed.aclose()
            await until(database, rows=630, provisional=30)
            await gateways.rise(limiters[0], 10)
            await until(database, rows=630, provisional=20)
            found = await kept(database)
            check_rows(found, gateways.truth)
            for tenant in TENANTS:
                assert await counted(limiters[0], tenant) == used_of(found, tenant)
        async with Redis.from_url(redis.url) as raw:
            assert not any([await raw.xlen(ledger_key(shard)) for shard in range(SHARDS)])


async def test_processes_that_hold_the_same_rows_write_each_once_while_the_database_dies(
    postgres: PostgresServer,
) -> None:
    entries = [entry_of(record(request_id=request_id(n), cost=n)) for n in range(1500)]
    async with AsyncExitStack() as stack:
        ledgers = []
        for _ in range(3):
            database = await stack.enter_async_context(Database(postgres.url, timeout=2.0))
            ledger = Ledger(database, LedgerSettings(flush=0.01))
            ledgers.append(await stack.enter_async_context(ledger))
        for n in range(0, len(entries), 10):
            for ledger, dice in zip(ledgers, (Random(1), Random(2), Random(3)), strict=True):
                some = entries[n : n + 10]
                for entry in dice.sample(some, len(some)):
                    ledger.put(entry)
            if n % 500 == 250:
                await asyncio.to_thread(postgres.kill)
                await asyncio.to_thread(postgres.start)
            await asyncio.sleep(0.005)
        for ledger in ledgers:
            await ledger.flush(30.0)
        found = await kept(database)
    assert sorted(row.request_id for row in found) == [request_id(n) for n in range(1500)]
    assert sum(row.cost for row in found) == sum(range(1500))


async def test_a_dead_gateways_request_is_in_the_ledger_within_lease_and_sweep_and_move(
    database_url: str,
) -> None:
    with RedisServer() as redis:
        async with (
            Database(database_url) as database,
            AsyncExitStack() as stack,
            moved(database_url, redis.url, 1) as [mover],
        ):
            gateways = Gateways(redis.url, database, stack)
            await gateways.limiter()
            doomed = await gateways.limiter()
            await gateways.one(doomed, dies=True)
            await doomed.aclose()
            # What a busy machine takes for itself comes on top of what is promised.
            bound = LEASE + SWEEP + MOVE + 3.0
            await eventually(lambda: mover.counts.new == 1, within=bound)
            [row] = await kept(database)
    assert row.provisional
    assert row.request_id in gateways.truth.lost
