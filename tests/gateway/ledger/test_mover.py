"""Rows reach the database from Redis exactly once, whoever dies on the way."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.ledger.entry import entry_of, note_of, provisional_of, row_of
from gateway.ledger.mover import Mover
from gateway.ledger.settings import LedgerSettings
from gateway.ledger.streams import READ_AT_ONCE, Streams
from gateway.store.database import Database
from gateway.store.ledger import Chosen, rows
from gateway.store.ledger_rows import Row
from tests.support.ledger_rows import request_id
from tests.support.records import record
from tests.support.redis_server import RedisServer
from tests.support.simulator import eventually

NAMES = [f"lg1:{{s{n}}}:led" for n in range(64)]


@pytest.fixture
async def raw(shared_redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(shared_redis.url) as client:
        await client.flushall()
        yield client


def settings(**changes: Any) -> LedgerSettings:
    return LedgerSettings(**{"move": 0.02, "close_timeout": 5.0, **changes})


@asynccontextmanager
async def mover(
    url: str, database: Database, *, claim_after: float = 10.0, **changes: Any
) -> AsyncIterator[Mover]:
    async with Streams(url, NAMES) as streams, Mover(
        streams, database, settings(**changes), claim_after=claim_after
    ) as moving:  # fmt: skip
        yield moving


async def settled(raw: Any, number: int, **changes: Any) -> None:
    made = record(request_id=request_id(number), **changes)
    fields = {"how": "S", "id": made.request_id, "row": bytes(entry_of(made))}
    await raw.xadd(NAMES[number % 64], fields)


async def expired(raw: Any, number: int, tokens: int, cost: int) -> None:
    made = record(request_id=request_id(number))
    fields = {"how": "E", "id": made.request_id, "row": note_of(made),
              "tokens": tokens, "cost": cost}  # fmt: skip
    await raw.xadd(NAMES[number % 64], fields)


async def left(raw: Redis) -> int:
    return sum([await raw.xlen(name) for name in NAMES])


async def emptied(raw: Redis) -> None:
    async with asyncio.timeout(30):
        while await left(raw):  # noqa: ASYNC110 - Redis tells nobody that a stream is empty
            await asyncio.sleep(0.05)


async def kept(database: Database) -> list[Row]:
    async with database.reading() as connection:
        return (await rows(connection, Chosen(), limit=100_000))[::-1]


async def ids(database: Database) -> list[str]:
    return [each.request_id for each in await kept(database)]


async def test_what_was_added_is_moved(
    database: Database, shared_redis: RedisServer, raw: Redis
) -> None:
    async with mover(shared_redis.url, database) as moving:
        await settled(raw, 1, cost=5)
        await expired(raw, 2, tokens=20, cost=7)
        await eventually(lambda: moving.counts.new == 2, within=10)
    one, two = record(request_id=request_id(1), cost=5), record(request_id=request_id(2))
    final, lost = row_of(bytes(entry_of(one))), provisional_of(note_of(two), 20, 7)
    assert await kept(database) == [final, lost]
    assert await left(raw) == 0
    assert (moving.lagging, moving.full, moving.backlog) == (False, False, 0)


async def test_a_late_settlement_takes_the_place_of_the_provisional_row(
    database: Database, shared_redis: RedisServer, raw: Redis
) -> None:
    async with mover(shared_redis.url, database) as moving:
        await expired(raw, 1, tokens=20, cost=7)
        await eventually(lambda: moving.counts.new == 1, within=10)
        await settled(raw, 1, cost=9)
        await eventually(lambda: moving.counts.replaced == 1, within=10)
    [row] = await kept(database)
    assert (row.cost, row.provisional) == (9, False)


async def test_more_than_fits_one_look_is_moved_without_a_pause(
    database: Database, shared_redis: RedisServer, raw: Redis
) -> None:
    made = bytes(entry_of(record()))
    async with raw.pipeline(transaction=False) as pipeline:
        for n in range(READ_AT_ONCE * 3 + 5):
            row = made.replace(record().request_id.encode(), request_id(n).encode())
            pipeline.xadd(NAMES[0], {"how": "S", "id": request_id(n), "row": row})
        await pipeline.execute()
    async with mover(shared_redis.url, database, move=60.0, close_timeout=20.0) as moving:
        pass  # closing moves what is there
    assert moving.counts.new == READ_AT_ONCE * 3 + 5
    assert await left(raw) == 0


async def test_what_is_no_row_is_told_and_taken_out(
    database: Database, shared_redis: RedisServer, raw: Redis
) -> None:
    garbage: list[dict[str, str | bytes]] = [
        {"how": "S", "id": "x", "row": b"{"},
        {"how": "E", "id": "x", "row": note_of(record()), "tokens": "many", "cost": "1"},
        {"how": "E", "id": "x", "row": note_of(record()), "tokens": "1", "cost": "-1"},
        {"how": "E", "id": "x", "row": b"", "tokens": "1", "cost": "1"},
        {"how": "Z"},
        {"row": b"\xff"},
    ]
    with capture_logs() as logs:
        async with mover(shared_redis.url, database) as moving:
            for fields in garbage:
                await raw.xadd(NAMES[3], fields)  # type: ignore[arg-type]
            await settled(raw, 3)
            await eventually(lambda: moving.counts.new == 1, within=10)
    assert moving.counts.broken == len(garbage)
    assert [log["event"] for log in logs] == ["ledger_entry_broken"] * len(garbage)
    assert await left(raw) == 0


async def test_rows_wait_in_redis_while_the_database_is_out_of_reach(
    database_url: str, shared_redis: RedisServer, raw: Redis
) -> None:
    async with Database(database_url, timeout=0.5) as database, Database(database_url) as other:
        with capture_logs() as logs:
            async with mover(shared_redis.url, database, max_stream=15) as moving:
                async with other.writing() as holder:
                    if other.dialect == "postgresql":
                        await holder.execute(text("LOCK TABLE ledger"))
                    for n in range(10):
                        await settled(raw, n)
                    await eventually(lambda: moving.lagging and moving.backlog >= 10, within=10)
                    assert (moving.full, await left(raw)) == (False, 10)
                    for n in range(10, 20):
                        await settled(raw, n)
                    await eventually(lambda: moving.full, within=10)
                await eventually(lambda: moving.counts.new == 20, within=20)
                await eventually(lambda: not moving.full and not moving.lagging, within=10)
        assert await ids(database) == [request_id(n) for n in range(20)]
    assert await left(raw) == 0
    assert [log["event"] for log in logs] == ["ledger_store_unreachable", "ledger_store_reached"]


async def test_a_redis_that_begins_empty_is_gone_on_with(database: Database) -> None:
    with RedisServer() as server, capture_logs() as logs:
        async with mover(server.url, database) as moving:
            async with Redis.from_url(server.url) as raw:
                await settled(raw, 1)
                await eventually(lambda: moving.counts.new == 1, within=10)
            await asyncio.to_thread(server.kill)
            await eventually(lambda: moving.lagging, within=10)
            await asyncio.to_thread(server.start)
            async with Redis.from_url(server.url) as raw:
                await settled(raw, 2)
                await eventually(lambda: moving.counts.new == 2, within=10)
            assert not moving.lagging
    assert [log["event"] for log in logs] == [
        "ledger_streams_unreachable", "ledger_streams_reached",
    ]  # fmt: skip


async def test_what_a_dead_process_had_in_hand_is_moved_by_another(
    database: Database, shared_redis: RedisServer, raw: Redis
) -> None:
    async with Streams(shared_redis.url, NAMES) as dead:
        await dead.make()
        await settled(raw, 1)
        await settled(raw, 2)
        assert len(await dead.unread()) == 2
    async with mover(shared_redis.url, database, claim_after=0.3) as moving:
        await settled(raw, 3)
        await eventually(lambda: moving.counts.new == 3, within=10)
    assert await left(raw) == 0


async def test_movers_of_the_same_streams_move_each_row_once(
    database_url: str, shared_redis: RedisServer, raw: Redis
) -> None:
    async with AsyncExitStack() as stack:
        movers = []
        for _ in range(3):
            database = await stack.enter_async_context(Database(database_url))
            # So impatient that they take rows from one another's hands.
            moving = mover(shared_redis.url, database, claim_after=0.005, move=0.005)
            movers.append(await stack.enter_async_context(moving))
        for n in range(600):
            if n % 3 == 0:
                await expired(raw, n, tokens=50, cost=1)
            if n % 2 == 0 or n % 3:
                await settled(raw, n, cost=n)
        await emptied(raw)
    async with Database(database_url) as database:
        found = await kept(database)
    assert [each.request_id for each in found] == [request_id(n) for n in range(600)]
    only_expired = {request_id(n) for n in range(600) if n % 3 == 0 and n % 2}
    assert {each.request_id for each in found if each.provisional} == only_expired
    assert sum(each.cost for each in found if not each.provisional) == sum(
        n for n in range(600) if n % 3 or n % 2 == 0
    )
    assert sum(each.counts.new for each in movers) >= 600


async def test_a_mover_that_died_is_told_and_nothing_more_is_admitted(
    database: Database, shared_redis: RedisServer, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with capture_logs() as logs:
        async with mover(shared_redis.url, database) as moving:
            monkeypatch.setattr(moving._writer, "write", broken)
            await settled(raw, 1)
            await eventually(lambda: moving.full, within=10)
    assert logs[0]["event"] == "ledger_mover_died"


async def test_closing_without_redis_ends_in_time(database: Database) -> None:
    async with asyncio.timeout(5), mover("unix:///nowhere", database, close_timeout=0.2) as moving:
        await eventually(lambda: moving.lagging, within=4)
    assert not moving.full


_CHILD = textwrap.dedent("""
    import asyncio, sys
    from gateway.ledger.mover import Mover
    from gateway.ledger.settings import LedgerSettings
    from gateway.ledger.streams import Streams
    from gateway.store.database import Database

    NAMES = [f"lg1:{{s{n}}}:led" for n in range(64)]

    async def main(url, redis):
        settings = LedgerSettings(move=0.01)
        async with Database(url) as database, Streams(redis, NAMES) as streams:
            async with Mover(streams, database, settings, claim_after=0.5):
                print("ready", flush=True)
                await asyncio.sleep(600)

    asyncio.run(main(*sys.argv[1:]))
""")


async def test_nothing_is_lost_or_doubled_while_movers_are_killed(
    database_url: str, shared_redis: RedisServer, raw: Redis
) -> None:
    @asynccontextmanager
    async def child() -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHILD, database_url, shared_redis.url,
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()
            await process.wait()

    number, enough = 0, asyncio.Event()

    async def add() -> None:
        nonlocal number
        while not enough.is_set():
            await settled(raw, number, cost=number)
            number += 1
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        group.create_task(add())
        async with child():
            for _ in range(2):
                async with child():
                    await asyncio.sleep(0.2)
        enough.set()
    async with (
        Database(database_url) as database,
        mover(shared_redis.url, database, claim_after=0.5),
    ):
        await emptied(raw)
        found = await kept(database)
    assert [each.request_id for each in found] == [request_id(n) for n in range(number)]
    assert sum(each.cost for each in found) == sum(range(number))
