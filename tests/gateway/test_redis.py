import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import pytest
import redis.exceptions
import uvloop

from gateway.redis import MOST, Redis, Script, open_redis
from tests.support.redis_server import RedisServer

ECHO = Script("return {ARGV[1], #KEYS}")
WORK = Script("local n = 0; for i = 1, 20000 do n = n + i end; return n")
"""Takes the server a fifth of a millisecond or so."""
WRITE = Script("return redis.call('SET', KEYS[1], ARGV[1])")


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that a test may kill."""
    with RedisServer() as server:
        yield server


@pytest.fixture
async def client(shared_server: RedisServer) -> AsyncIterator[Redis]:
    """Connected, knowing ECHO."""
    async with open_redis(shared_server.url, deadline=5) as client:
        await client.run(ECHO, (), ("begin",))
        yield client


async def test_a_script_gets_its_keys_and_arguments(client: Redis) -> None:
    assert await client.run(ECHO, ("a", "b"), (7,)) == [b"7", 2]


async def test_calls_of_one_tick_share_one_round_trip(client: Redis) -> None:
    async def call(number: int) -> int:
        answer = await client.run(ECHO, (), (number,))
        return int(answer[0])

    before = client.round_trips
    answers = await asyncio.gather(*(call(number) for number in range(32)))

    assert answers == list(range(32))
    assert client.round_trips - before == 1


async def test_calls_that_come_while_an_answer_is_awaited_share_the_next_round_trip(
    client: Redis,
) -> None:
    before = client.round_trips
    first = client.run(ECHO, (), (1,))
    await asyncio.sleep(0)  # it is on its way
    others = [client.run(ECHO, (), (number,)) for number in range(10)]

    await asyncio.gather(first, *others)

    assert client.round_trips - before == 2


async def test_a_flight_takes_no_more_commands_than_its_bound(client: Redis) -> None:
    before = client.round_trips

    await asyncio.gather(*(client.run(ECHO, (), (number,)) for number in range(MOST + 1)))

    assert client.round_trips - before == 2


async def test_a_burst_does_not_fail_for_taking_longer_than_one_deadline(
    shared_server: RedisServer,
) -> None:
    async with open_redis(shared_server.url, deadline=0.05) as client:
        await client.run(WORK, (), ())

        answers = await asyncio.gather(
            *(client.run(WORK, (), ()) for _ in range(1000)), return_exceptions=True
        )

    assert set(answers) == {sum(range(20001))}


async def test_a_script_that_the_server_has_forgotten_is_sent_whole(
    client: Redis, shared_server: RedisServer
) -> None:
    with redis.Redis.from_url(shared_server.url) as other:
        other.script_flush()
    before = client.round_trips

    answers = await asyncio.gather(*(client.run(ECHO, (), (n,)) for n in range(3)))

    assert [answer[0] for answer in answers] == [b"0", b"1", b"2"]
    assert client.round_trips - before == 2
    await client.run(ECHO, (), (1,))
    assert client.round_trips - before == 3


async def test_a_refusal_concerns_its_own_call_alone(client: Redis) -> None:
    broken = Script("return redis.error_reply('ERR no')")

    answers = await asyncio.gather(
        client.run(ECHO, (), (1,)),
        client.run(broken, (), ()),
        client.run(ECHO, (), (2,)),
        return_exceptions=True,
    )

    assert answers[0] == [b"1", 0]
    assert isinstance(answers[1], redis.exceptions.ResponseError)
    assert answers[2] == [b"2", 0]


async def test_a_cancelled_wait_disturbs_no_other(client: Redis) -> None:
    first, second = client.run(ECHO, (), (1,)), client.run(ECHO, (), (2,))
    first.cancel()

    assert await second == [b"2", 0]


async def test_a_ping_reaches_the_server(client: Redis) -> None:
    await client.ping(within=5)


async def test_a_server_says_what_is_known_of_it(client: Redis) -> None:
    told = await client.info("memory")

    assert told["maxmemory_policy"] == "noeviction"
    assert int(told["used_memory"]) > 0


async def test_a_server_that_is_gone_is_an_error_and_its_return_is_noticed(
    server: RedisServer,
) -> None:
    async with open_redis(server.url, deadline=5) as client:
        await client.run(ECHO, (), (1,))
        server.kill()
        for _ in range(2):
            with pytest.raises(redis.exceptions.ConnectionError):
                await client.run(ECHO, (), (2,))
        server.start()

        assert await client.run(ECHO, (), (3,)) == [b"3", 0]
        assert client.connections == 2


async def test_a_server_that_hangs_is_given_up_at_the_deadline_for_all_who_wait(
    server: RedisServer,
) -> None:
    async with open_redis(server.url, deadline=0.2) as client:
        await client.run(ECHO, (), (1,))
        server.freeze()
        trips = client.round_trips
        first = client.run(ECHO, (), (2,))
        await asyncio.sleep(0)  # it is on its way
        behind = client.run(ECHO, (), (3,))

        answers = await asyncio.gather(first, behind, return_exceptions=True)

        assert all(isinstance(each, redis.exceptions.TimeoutError) for each in answers)
        assert client.round_trips == trips + 1
        server.thaw()
        assert await client.run(ECHO, (), (4,)) == [b"4", 0]  # and not the late reply


async def test_a_replica_is_left_for_a_new_connection(server: RedisServer) -> None:
    async with open_redis(server.url, deadline=5) as client:
        with redis.Redis.from_url(server.url) as other:
            await client.run(WRITE, ("k",), ("v",))
            other.replicaof("127.0.0.1", "1")
            with pytest.raises(redis.exceptions.ReadOnlyError):
                await client.run(WRITE, ("k",), ("v",))
            other.replicaof("NO", "ONE")

        await client.run(WRITE, ("k",), ("v",))
        assert client.connections == 2


async def test_closing_fails_what_waits_and_leaves_no_task(server: RedisServer) -> None:
    client = open_redis(server.url, deadline=5)
    await client.run(ECHO, (), (1,))
    server.freeze()
    under_way = client.run(ECHO, (), (2,))
    await asyncio.sleep(0)  # it is on its way
    behind = client.run(ECHO, (), (3,))

    await client.aclose()

    for call in (under_way, behind, client.run(ECHO, (), (4,))):
        with pytest.raises(redis.exceptions.ConnectionError):
            await call
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_refused_command_in_a_flight_of_cancelled_waits_is_nobodys(
    client: Redis,
) -> None:
    calls = [client.run(ECHO, (), (number,)) for number in range(3)]
    for call in calls:
        call.cancel()
    await asyncio.sleep(0)

    assert await client.run(ECHO, (), (9,)) == [b"9", 0]


async def test_closing_what_was_never_used_is_fine() -> None:
    await open_redis("redis://127.0.0.1:1").aclose()


def test_it_works_on_uvloop(shared_server: RedisServer) -> None:
    async def main() -> object:
        async with open_redis(shared_server.url, deadline=5) as client:
            return await client.run(ECHO, (), (1,))

    assert uvloop.run(main()) == [b"1", 0]


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        open_redis("http://127.0.0.1")


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[int]:
    """The port of a server that answers what it reads first, and so on; then it is silent."""

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with closing(writer):
            for answer in answers:
                await reader.read(65_536)
                writer.write(answer)
            while await reader.read(65_536):
                pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for task in filter(None, serving):
        task.cancel()
    await asyncio.gather(*filter(None, serving), return_exceptions=True)
    await asyncio.sleep(0)  # they close their connections in the loop's next turn


async def test_a_connection_that_ends_while_nothing_is_on_its_way_is_nobodys_failure(
    server: RedisServer,
) -> None:
    async with open_redis(server.url, deadline=5) as client:
        await client.run(ECHO, (), (1,))
        server.kill()
        server.start()
        await asyncio.sleep(0.05)  # it is heard of

        assert await client.run(ECHO, (), (2,)) == [b"2", 0]
        assert client.connections == 2


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n", b"-LOADING its data\r\n", b"+PONG\r\n*2\r\n!\r\n"]
)
async def test_a_server_that_does_not_serve_is_a_connection_that_failed(answer: bytes) -> None:
    async with answering(answer) as port, open_redis(f"redis://127.0.0.1:{port}") as client:
        pings = [asyncio.create_task(client.ping(within=5)) for _ in range(2)]
        answers = await asyncio.gather(*pings, return_exceptions=True)

    assert isinstance(answers[1], redis.exceptions.ConnectionError)


async def test_a_server_that_never_lets_one_in_is_given_up_at_the_deadline() -> None:
    async with answering() as port:
        async with open_redis(f"redis://127.0.0.1:{port}/1", deadline=0.05) as client:
            with pytest.raises(redis.exceptions.TimeoutError):
                await client.run(ECHO, (), (1,))
            closing = client.run(ECHO, (), (2,))
            await asyncio.sleep(0)  # it waits for a connection

        with pytest.raises(redis.exceptions.ConnectionError):
            await closing


async def test_a_reply_that_nobody_asked_for_is_given_to_nobody() -> None:
    async with (
        answering(b"+PONG\r\n+PONG\r\n") as port,
        open_redis(f"redis://127.0.0.1:{port}") as client,
    ):
        for connections in (1, 2):
            await client.ping(within=5)
            assert client.connections == connections
