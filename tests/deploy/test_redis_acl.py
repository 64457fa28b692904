"""The Redis user that deploy/redis/users.acl makes: enough to keep limits, and nothing else."""

import asyncio
import re
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

from gateway.contract.errors import LimitExceeded
from gateway.idempotency import IdempotencySettings, Kept, Ticket, scripts
from gateway.idempotency.shelf import RedisShelf
from gateway.ledger.entry import entry_of
from gateway.ledger.mover import Mover
from gateway.ledger.settings import LedgerSettings
from gateway.ledger.streams import Streams
from gateway.limits.keys import ledger_key
from gateway.limits.limiter import Books
from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Measure, Sliding
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import Script, open_redis
from gateway.store.database import Database
from gateway.store.migrate import migrate
from tests.support.ledger_rows import request_id
from tests.support.records import record
from tests.support.redis_server import RedisServer
from tests.support.simulator import eventually

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "redis" / "users.acl"
PASSWORD = "a-password-of-this-test"
NOBODY = "#" + "0" * 64
"""The digest that the shipped file holds: of no password that anybody knows."""

FORBIDDEN = """
    KEYS *|SCAN 0|RANDOMKEY|DBSIZE|FLUSHALL|FLUSHDB|SWAPDB 0 1|SELECT 1|MOVE lg1:a 1
    CONFIG GET *|CONFIG SET maxmemory 1|CONFIG REWRITE|OBJECT FREQ lg1:a|SHUTDOWN NOSAVE|SAVE|BGSAVE
    BGREWRITEAOF|REPLICAOF NO ONE|FAILOVER|CLUSTER RESET|MIGRATE h 1 lg1:a 0 1|RESTORE lg1:a 0 x
    DUMP lg1:a|ACL LIST|ACL SETUSER lockgate +@all|ACL WHOAMI|CLIENT LIST|CLIENT KILL TYPE normal
    CLIENT PAUSE 1|MODULE LIST|FUNCTION FLUSH|SCRIPT FLUSH|SCRIPT KILL|MONITOR
    SLOWLOG GET|LATENCY RESET|MEMORY PURGE|PUBLISH lg1:a b|SUBSCRIBE lg1:a|RENAME lg1:a lg1:b
    COPY lg1:a lg1:b|SORT lg1:a|XTRIM lg1:a MAXLEN 0|XGROUP DESTROY lg1:a g|XGROUP SETID lg1:a g 0
    PERSIST lg1:a|APPEND lg1:a b|GETDEL lg1:a|WAIT 0 1
"""
FOREIGN = """
    GET other|SET other 1|DEL other|HGETALL lg1|HSET xlg1:a b c|ZADD lg2:a 1 b|XADD ledger * a b
"""


def commands(table: str) -> list[str]:
    return [each.strip() for line in table.strip().splitlines() for each in line.split("|")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    file = tmp_path_factory.mktemp("redis") / "users.acl"
    digest = sha256(PASSWORD.encode()).hexdigest()
    file.write_text(FILE.read_text().replace(NOBODY, "#" + digest))
    with RedisServer("--aclfile", str(file)) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: RedisServer) -> str:
    return server.url.replace("unix://", f"unix://lockgate:{PASSWORD}@")


@pytest.fixture
def user(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, protocol=2, driver_info=None) as user:
        yield user


def test_nobody_comes_in_without_a_password(server: RedisServer) -> None:
    for name in ("", "default:@", "lockgate:@", "lockgate:wrong@"):
        url = server.url.replace("unix://", f"unix://{name}")
        with (
            redis.Redis.from_url(url, protocol=2, driver_info=None) as stranger,
            pytest.raises((redis.AuthenticationError, redis.ResponseError)),
        ):
            stranger.execute_command("PING")


def test_the_shipped_file_lets_nobody_in_until_a_password_is_set() -> None:
    with RedisServer("--aclfile", str(FILE)) as server:
        url = server.url.replace("unix://", f"unix://lockgate:{'0' * 64}@")
        with (
            redis.Redis.from_url(url, protocol=2, driver_info=None) as stranger,
            pytest.raises((redis.AuthenticationError, redis.ResponseError)),
        ):
            stranger.execute_command("PING")


def test_a_stolen_connection_can_do_nothing_but_keep_limits(user: redis.Redis) -> None:
    assert len(commands(FORBIDDEN)) >= 30
    for command in commands(FORBIDDEN):
        with pytest.raises(NoPermissionError):
            user.execute_command(*command.split())


def test_no_key_of_another_application_is_reached_not_even_by_a_script(user: redis.Redis) -> None:
    for command in commands(FOREIGN):
        with pytest.raises(NoPermissionError):
            user.execute_command(*command.split())
    for key in ("other", "lg1"):
        with pytest.raises(redis.ResponseError, match="can't access at least one of the keys"):
            user.execute_command("EVAL", f"return redis.call('GET', '{key}')", 0)
    with pytest.raises(redis.ResponseError, match="can't run this command"):
        user.execute_command("EVAL", "return redis.call('FLUSHALL')", 0)


def test_every_command_of_the_scripts_is_granted() -> None:
    files = (ROOT / "gateway" / "limits").glob("*.lua")
    texts = [file.read_text() for file in files]
    texts += [each.text for each in vars(scripts).values() if isinstance(each, Script)]
    called = {
        name.lower() for text in texts for name in re.findall(r"redis\.p?call\(\s*'(\w+)'", text)
    }
    granted = set(re.findall(r"\+(\w+)", FILE.read_text()))

    assert called
    assert called <= granted


LIMITS = (
    Limit("tenant:acme", "requests", 50, Sliding(bucket_ms=1000, buckets=60)),
    Limit("tenant:acme", "tokens", 1000, Calendar("day")),
    Limit("key:k", "money", 10**6, Calendar("month")),
    Limit("key:k", "concurrency", 2, AtOnce()),
)
ASK = Ask(Amounts(tokens=10, cost=100))


class Nobody:
    """A ledger in which nothing has been used."""

    async def spent(
        self, tenant: str, scope: str, measure: Measure, start: date, *, without: str = ""
    ) -> int:
        return 0


async def test_the_user_can_do_all_that_limits_need(server: RedisServer, url: str) -> None:
    settings = LimitsSettings(lease=0.3, sweep=0.1, deadline=5)
    async with open_redis(url, deadline=5) as client:
        books = Books(spent=Nobody())
        limiter = await asyncio.to_thread(RedisLimiter, client, settings, books=books)
        async with limiter:
            held = await limiter.reserve("a", "acme", LIMITS, ASK, note=b"note")
            doomed = await limiter.reserve("b", "acme", LIMITS, ASK, note=b"note")
            with pytest.raises(LimitExceeded):
                await limiter.reserve("c", "acme", LIMITS, ASK)
            await limiter.extend(held, Amounts(tokens=20, cost=200))
            await limiter._leases.renew()
            await limiter.standings("acme", LIMITS)
            await limiter.settle(held, Amounts(tokens=5, cost=50), entry=b"row")
            del limiter._holdings.open[doomed.request_id]
            await eventually(lambda: limiter.counts.expired == 1, within=10)
            await limiter.settle(doomed, Amounts(tokens=5, cost=50), entry=b"row")
            await limiter.reserve("d", "acme", LIMITS, ASK)

    assert limiter.counts.store_failures == 0
    assert limiter.counts.late == 1


async def test_the_user_can_do_all_that_idempotency_needs(url: str) -> None:
    first, second = (Ticket.of(("acme", "k"), "/v1/x", key, b"{}") for key in (b"a", b"b"))
    answer = Kept("first", 200, (), b"answer")
    async with open_redis(url, deadline=5) as client:
        shelf = RedisShelf(client, IdempotencySettings(), lambda tenant: f"lg1:{{s0}}:{tenant}:")
        assert await shelf.claim(first, "first") is None
        await shelf.tend()
        await shelf.keep(first, answer)
        assert await shelf.claim(first, "second") == answer
        assert await shelf.claim(second, "first") is None
        await shelf.free(second)
        shelf.drop(first)
        await client.ping(within=5)

    assert shelf.failures == 0


async def test_the_user_can_move_the_ledgers_rows(url: str, tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'ledger.db'}"
    await migrate(database_url)
    stream = ledger_key(7)
    entry = bytes(entry_of(record(request_id=request_id(1))))
    with redis.Redis.from_url(url, protocol=2, driver_info=None) as user:
        user.xadd(stream, {"how": "S", "id": request_id(1), "row": entry})
    async with (
        Streams(url, [stream]) as streams,
        Database(database_url) as database,
        Mover(streams, database, LedgerSettings(move=0.05)) as mover,
    ):
        await eventually(lambda: mover.counts.new == 1, within=10)
    with redis.Redis.from_url(url, protocol=2, driver_info=None) as user:
        assert user.execute_command("XLEN", stream) == 0
