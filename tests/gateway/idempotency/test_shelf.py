"""What only several processes on one Redis can get wrong, and what one does without it."""

import asyncio
from collections.abc import Callable

import pytest
import redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from gateway.contract.errors import IdempotencyConflict
from gateway.idempotency import IdempotencySettings, Kept
from gateway.idempotency.shelf import QUIET, RedisShelf
from gateway.redis import Redis, open_redis
from tests.gateway.idempotency.conftest import (
    PATIENT,
    Clock,
    Store,
    answered,
    claimed,
    shelf_on,
    ticket,
)
from tests.support.redis_server import RedisServer
from tests.support.simulator import eventually

ANSWER = Kept("first", 200, (), b"answer")


@pytest.fixture
def shelves(client: Redis) -> Callable[[], RedisShelf]:
    """Makes shelves as several processes have them, whose leases nobody renews."""
    return lambda: shelf_on(client, IdempotencySettings(lease=1, window=30))


async def test_no_key_and_no_body_is_to_be_read_in_redis(shared: Store, raw: redis.Redis) -> None:
    process = await shared.process()
    await answered(process, ticket("order-4711", '{"prompt": "secret"}'))

    [key] = raw.keys()
    stored = key + bytes(raw.get(key) or b"")
    assert key.startswith(b"lg1:{s0}:acme:i:")
    assert b"4711" not in stored
    assert b"secret" not in stored


async def test_all_that_is_stored_ends_by_itself(client: Redis, raw: redis.Redis) -> None:
    shelf = shelf_on(client, IdempotencySettings(lease=60, window=600))
    assert await shelf.claim(ticket("runs"), "first") is None
    assert await shelf.claim(ticket("kept"), "first") is None
    await shelf.keep(ticket("kept"), ANSWER)
    assert await shelf.claim(ticket("gone"), "first") is None
    await shelf.keep(ticket("gone"), None)

    lives = {name: raw.pttl(shelf._key(ticket(name))) for name in ("runs", "kept", "gone")}
    assert 0 < lives["runs"] <= 60_000
    assert 60_000 < lives["kept"] <= 600_000
    assert 60_000 < lives["gone"] <= 600_000


async def test_the_lease_of_a_process_that_died_passes_to_one_that_waits(
    shelves: Callable[[], RedisShelf],
) -> None:
    assert await shelves().claim(ticket(), "dead") is None

    async with asyncio.timeout(PATIENT):
        assert await shelves().claim(ticket(), "heir") is None


async def test_a_lease_that_is_renewed_passes_to_nobody(
    shelves: Callable[[], RedisShelf], raw: redis.Redis
) -> None:
    shelf = shelves()
    await shelf.claim(ticket(), "first")
    raw.pexpire(shelf._key(ticket()), 100)

    await shelf.tend()

    assert raw.pttl(shelf._key(ticket())) > 100


async def test_an_answer_is_not_written_over_by_one_whose_lease_was_taken(
    shelves: Callable[[], RedisShelf], raw: redis.Redis
) -> None:
    late, heir = shelves(), shelves()
    await late.claim(ticket(), "late")
    raw.delete(late._key(ticket()))  # its lease ends
    await heir.claim(ticket(), "heir")
    await heir.keep(ticket(), ANSWER)

    await late.keep(ticket(), Kept("late", 200, (), b"other"))
    await late.free(ticket())
    await late.tend()

    assert await shelves().claim(ticket(), "second") == ANSWER


async def test_a_process_that_leaves_while_it_asks_leaves_nothing_behind(
    shelves: Callable[[], RedisShelf], raw: redis.Redis
) -> None:
    asking = asyncio.create_task(shelves().claim(ticket(), "left"))
    await asyncio.sleep(0)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert raw.keys() == []


async def test_an_answer_that_redis_has_no_memory_for_is_still_never_run_twice(
    shelves: Callable[[], RedisShelf], raw: redis.Redis
) -> None:
    shelf = shelves()
    raw.config_set("maxmemory", 1)
    try:
        assert await shelf.claim(ticket(), "first") is None
        await shelf.keep(ticket(), ANSWER)

        with pytest.raises(IdempotencyConflict) as refused:
            await shelves().claim(ticket(), "second")
        assert refused.value.code == "idempotency_answer_gone"
    finally:
        raw.config_set("maxmemory", 0)
    assert shelf.failures == 0


async def test_an_entry_of_another_version_is_an_answer_that_is_gone(
    shelves: Callable[[], RedisShelf], raw: redis.Redis
) -> None:
    shelf = shelves()
    raw.set(shelf._key(ticket()), b"z" + ticket().body.encode() + b"whatever")

    with pytest.raises(IdempotencyConflict):
        await shelf.claim(ticket(), "first")


# Redis out of reach


class Broken:
    """A Redis behind a wire that can be cut; `asked` counts what went over it."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.is_cut = False
        self.asked = 0

    def run(self, script: object, keys: object, args: object) -> "asyncio.Future[object]":
        self.asked += 1
        if not self.is_cut:
            return self._client.run(script, keys, args)  # type: ignore[arg-type]
        lost: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        lost.set_exception(RedisError("cut"))
        return lost


class Away:
    """A shelf whose Redis can be cut off, and whose time passes when the test says so."""

    def __init__(self, client: Redis) -> None:
        self.wire = Broken(client)
        self.clock = Clock()
        settings = IdempotencySettings(lease=10, window=60)
        self.shelf = RedisShelf(
            self.wire,  # type: ignore[arg-type]
            settings,
            lambda tenant: f"lg1:{{s0}}:{tenant}:",
            clock=self.clock,
        )

    def cut(self) -> None:
        self.wire.is_cut = True

    def mend(self) -> None:
        self.wire.is_cut = False
        self.clock.now += QUIET


@pytest.fixture
async def away(client: Redis) -> Away:
    return Away(client)


async def test_without_redis_a_request_is_run_by_the_word_of_its_process(away: Away) -> None:
    away.cut()

    assert await away.shelf.claim(ticket(), "first") is None
    await away.shelf.keep(ticket(), ANSWER)
    assert await away.shelf.claim(ticket("other"), "first") is None
    await away.shelf.free(ticket("other"))


async def test_what_redis_did_not_hear_it_hears_when_it_is_back(
    away: Away, shelves: Callable[[], RedisShelf]
) -> None:
    away.cut()
    await away.shelf.claim(ticket("answered"), "first")
    await away.shelf.keep(ticket("answered"), ANSWER)
    await away.shelf.claim(ticket("runs"), "first")
    away.mend()

    await away.shelf.tend()

    assert await shelves().claim(ticket("answered"), "second") == ANSWER
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await shelves().claim(ticket("runs"), "second")
    assert set(away.shelf._holdings) == {ticket("runs").name}


async def test_a_server_that_does_not_answer_is_left_alone_for_a_moment(away: Away) -> None:
    away.cut()
    for number in range(20):
        await away.shelf.claim(ticket(str(number)), "first")
    assert away.wire.asked == 1

    away.mend()
    await away.shelf.claim(ticket("later"), "first")
    assert away.wire.asked == 2


async def test_an_outage_is_told_once_and_once_again_when_it_is_over(away: Away) -> None:
    with capture_logs() as told:
        for cut in (True, True, False, False):
            away.clock.now += QUIET
            away.wire.is_cut = cut
            await away.shelf.claim(ticket(str(away.clock.now)), "first")

    assert [line["event"] for line in told] == [
        "idempotency_store_unreachable",
        "idempotency_store_reached",
    ]
    assert away.shelf.failures == 2


async def test_who_waits_for_another_process_waits_a_lease_longer_through_an_outage(
    away: Away, client: Redis
) -> None:
    await shelf_on(client, IdempotencySettings(lease=60)).claim(ticket(), "first")
    waiting = asyncio.create_task(away.shelf.claim(ticket(), "second"))
    await eventually(lambda: away.wire.asked == 1, within=PATIENT)
    away.cut()
    await asyncio.sleep(0.2)
    assert not waiting.done()

    away.clock.now += 11

    async with asyncio.timeout(PATIENT):
        assert await waiting is None


async def test_what_is_told_too_late_is_not_told(away: Away, raw: redis.Redis) -> None:
    away.cut()
    await away.shelf.claim(ticket(), "first")
    await away.shelf.keep(ticket(), ANSWER)
    away.mend()
    away.clock.now += 60

    await away.shelf.tend()

    assert raw.keys() == []
    assert away.shelf._holdings == {}


async def test_an_answer_that_was_dropped_before_redis_heard_it_is_never_sent(
    away: Away, shelves: Callable[[], RedisShelf]
) -> None:
    away.cut()
    await away.shelf.claim(ticket(), "first")
    await away.shelf.keep(ticket(), ANSWER)
    away.shelf.drop(ticket())
    away.mend()

    await away.shelf.tend()

    with pytest.raises(IdempotencyConflict) as refused:
        await shelves().claim(ticket(), "second")
    assert refused.value.code == "idempotency_answer_gone"


async def test_a_redis_that_is_killed_costs_processes_nothing_but_what_they_share() -> None:
    with RedisServer() as server:
        async with open_redis(server.url, deadline=1) as client:
            shelf = shelf_on(client, IdempotencySettings(lease=1))
            assert await shelf.claim(ticket("before"), "first") is None
            server.kill()

            async with shelf:
                await shelf.keep(ticket("before"), ANSWER)
                assert await shelf.claim(ticket("meanwhile"), "first") is None
                shelf.drop(ticket("meanwhile"))


async def test_leases_are_renewed_while_the_shelf_is_open(shared: Store, raw: redis.Redis) -> None:
    process = await shared.process(lease=0.3)
    async with await claimed(process, ticket()):
        [name] = raw.keys()
        raw.pexpire(name, 60_000)

        await eventually(lambda: raw.pttl(name) <= 300, within=PATIENT)
