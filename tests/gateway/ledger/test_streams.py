"""Entries are read by one, stay until they are taken out, and are taken over from the dead."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.ledger.streams import READ_AT_ONCE, Streams, is_new
from tests.support.redis_server import RedisServer

NAMES = ["lg1:{s0}:led", "lg1:{s1}:led"]
ACL = Path(__file__).parents[3] / "deploy" / "redis" / "users.acl"


@pytest.fixture
async def raw(shared_redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(shared_redis.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def streams(shared_redis: RedisServer, raw: Redis) -> AsyncIterator[Streams]:
    async with Streams(shared_redis.url, NAMES) as streams:
        await streams.make()
        yield streams


async def add(raw: Redis, count: int = 1, name: str = NAMES[0]) -> None:
    for n in range(count):
        await raw.xadd(name, {"n": n})


def told(entries: object) -> list[int]:
    return [int(entry.fields[b"n"]) for entry in entries]  # type: ignore[attr-defined]


async def test_what_was_added_before_the_streams_were_made_is_read_too(
    shared_redis: RedisServer, raw: Redis
) -> None:
    await add(raw, 3)
    async with Streams(shared_redis.url, NAMES) as streams:
        with pytest.raises(RedisError) as raised:
            await streams.unread()
        assert is_new(raised.value)
        with pytest.raises(RedisError) as raised:
            await streams.abandoned(0)
        assert is_new(raised.value)
        await streams.make()
        await streams.make()
        assert told(await streams.unread()) == [0, 1, 2]


async def test_an_entry_is_read_by_one_reader(
    streams: Streams, shared_redis: RedisServer, raw: Redis
) -> None:
    await add(raw, 2)
    await add(raw, 1, NAMES[1])
    async with Streams(shared_redis.url, NAMES) as other:
        first = await streams.unread()
        assert [entry.stream.decode() for entry in first] == [NAMES[0], NAMES[0], NAMES[1]]
        assert await other.unread() == []
        assert await other.abandoned(10.0) == []


async def test_an_entry_that_was_not_taken_out_is_taken_over(
    streams: Streams, shared_redis: RedisServer, raw: Redis
) -> None:
    await add(raw, 2)
    await streams.unread()
    async with Streams(shared_redis.url, NAMES) as other:
        again = await other.abandoned(0)
        assert told(again) == [0, 1]
        assert await streams.abandoned(10.0) == []
        await other.take_out(again)
    assert await streams.abandoned(0) == []
    assert await streams.count() == 0


async def test_what_is_taken_out_twice_is_gone_once(streams: Streams, raw: Redis) -> None:
    await add(raw, 3)
    entries = await streams.unread()
    await streams.take_out(entries[:2])
    await streams.take_out(entries)

    assert await streams.count() == 0
    assert await raw.xpending(NAMES[0], "sql") == {
        "pending": 0, "min": None, "max": None, "consumers": [],
    }  # fmt: skip


async def test_a_crash_between_deleting_and_acknowledging_leaves_nothing_behind(
    streams: Streams, raw: Redis
) -> None:
    await add(raw, 1)
    [entry] = await streams.unread()
    await raw.xdel(entry.stream, entry.number)

    assert await streams.abandoned(0) == []
    assert (await raw.xpending(NAMES[0], "sql"))["pending"] == 0


async def test_as_many_are_read_at_once_as_fit(streams: Streams, raw: Redis) -> None:
    await add(raw, READ_AT_ONCE + 1)

    assert len(await streams.unread()) == READ_AT_ONCE
    assert await streams.count() == READ_AT_ONCE + 1
    assert len(await streams.unread()) == 1


async def test_no_process_leaves_its_name_behind(
    streams: Streams, shared_redis: RedisServer, raw: Redis
) -> None:
    for _ in range(3):
        async with Streams(shared_redis.url, NAMES) as another:
            await add(raw, 1)
            await another.unread()
    assert len(await raw.xinfo_consumers(NAMES[0], "sql")) == 1


async def test_a_server_that_is_gone_is_an_error_and_not_a_new_one() -> None:
    async with Streams("unix:///nowhere", NAMES) as streams:
        with pytest.raises(RedisError) as raised:
            await streams.unread()
    assert not is_new(raised.value)


async def test_the_shipped_user_may_do_all_of_this(tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    file.write_text(ACL.read_text().replace("0" * 64, sha256(b"word").hexdigest()))
    with RedisServer("--aclfile", str(file)) as server:
        url = server.url.replace("unix://", "unix://lockgate:word@")
        async with Streams(url, NAMES) as streams, Redis.from_url(
            url, protocol=2, driver_info=None
        ) as user:  # fmt: skip
            await streams.make()
            await add(user, 1)
            await streams.unread()
            await streams.take_out(await streams.abandoned(0))
            assert await streams.count() == 0
