import asyncio
import random

import httpx
import pytest

from gateway.upstream.pool import SILENCE, Pool
from tests.gateway.upstream.fakes import Clock, Dialler, pool_of


async def take(pool: Pool, *, within: float = 5.0):
    return await pool.take(connect_timeout=1.0, pool_timeout=within)


def waiting_for(pool: Pool) -> asyncio.Task:
    return asyncio.get_running_loop().create_task(take(pool))


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_connection_used_last_is_used_next():
    pool = pool_of(10, Dialler())
    first, second = await take(pool), await take(pool)
    pool.give_back(first)
    pool.give_back(second)
    assert await take(pool) is second
    assert await take(pool) is first
    await pool.aclose()


async def test_a_connection_that_is_not_clean_is_closed_and_never_reused():
    dial = Dialler()
    pool = pool_of(1, dial)
    connection = await take(pool)
    connection.dirty = True
    pool.give_back(connection)
    assert not connection.is_open
    assert pool.open == 0
    assert await take(pool) is not connection
    await pool.aclose()


async def test_giving_back_twice_changes_nothing():
    pool = pool_of(2, Dialler())
    connection = await take(pool)
    pool.give_back(connection)
    pool.give_back(connection)
    assert (pool.open, pool.idle) == (1, 1)
    await pool.aclose()


async def test_no_more_connections_are_open_than_the_bound():
    dial = Dialler()
    pool = pool_of(3, dial)
    tasks = [waiting_for(pool) for _ in range(10)]
    await turn()
    assert (pool.open, pool.waiting, len(dial.made)) == (3, 7, 3)
    for task in tasks:
        pool.give_back(await task)
    assert (pool.open, pool.idle, pool.waiting, len(dial.made)) == (3, 3, 0, 3)
    await pool.aclose()


async def test_who_asked_first_is_served_first():
    pool = pool_of(1, Dialler())
    held = await take(pool)
    served: list[int] = []

    async def ask(number: int) -> None:
        connection = await take(pool)
        served.append(number)
        pool.give_back(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ask(number))
            await asyncio.sleep(0)
        pool.give_back(held)
    assert served == list(range(20))
    await pool.aclose()


async def test_a_newcomer_does_not_overtake_whom_a_connection_was_promised():
    pool = pool_of(1, Dialler())
    held = await take(pool)
    first = waiting_for(pool)
    await turn()
    pool.give_back(held)
    second = waiting_for(pool)
    await turn()
    assert first.done()
    assert not second.done()
    pool.give_back(await first)
    pool.give_back(await second)
    await pool.aclose()


async def test_a_wait_that_is_too_long_is_named_and_leaves_the_queue():
    pool = pool_of(1, Dialler())
    held = await take(pool)
    with pytest.raises(httpx.PoolTimeout):
        await take(pool, within=0.01)
    assert pool.waiting == 0
    pool.give_back(held)
    assert pool.idle == 1
    await pool.aclose()


async def test_a_failed_connect_gives_its_slot_to_the_next():
    dial = Dialler()
    dial.fails, dial.delay = True, 0.01
    pool = pool_of(1, dial)
    tasks = [waiting_for(pool) for _ in range(4)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, httpx.ConnectError) for result in results)
    assert (pool.open, pool.waiting) == (0, 0)
    dial.fails = False
    pool.give_back(await take(pool))
    await pool.aclose()


async def test_a_cancelled_connect_gives_its_slot_back():
    dial = Dialler()
    dial.delay = 5.0
    pool = pool_of(1, dial)
    task = waiting_for(pool)
    await turn()
    assert pool.open == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pool.open == 0
    await pool.aclose()


@pytest.mark.parametrize("clean", [True, False])
async def test_a_waiter_cancelled_in_the_turn_of_its_luck_passes_it_on(clean):
    pool = pool_of(1, Dialler())
    held = await take(pool)
    first, second = waiting_for(pool), waiting_for(pool)
    await turn()
    held.dirty = not clean
    pool.give_back(held)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    connection = await second
    assert connection.is_open
    pool.give_back(connection)
    assert (pool.open, pool.idle, pool.waiting) == (1, 1, 0)
    await pool.aclose()


async def test_a_connection_that_dies_on_its_way_to_a_waiter_is_replaced():
    pool = pool_of(1, Dialler())
    held = await take(pool)
    waiter = waiting_for(pool)
    await turn()
    pool.give_back(held)
    held.die()
    connection = await waiter
    assert connection is not held
    assert pool.open == 1
    pool.give_back(connection)
    await pool.aclose()


async def test_a_connection_closed_by_the_upstream_while_idle_is_dropped():
    pool = pool_of(2, Dialler())
    connection = await take(pool)
    pool.give_back(connection)
    connection.die()
    assert (pool.open, pool.idle) == (0, 0)
    await pool.aclose()


async def test_one_in_use_keeps_its_slot_until_it_is_given_back():
    pool = pool_of(1, Dialler())
    connection = await take(pool)
    connection.die()
    assert pool.open == 1
    pool.give_back(connection)
    assert pool.open == 0
    await pool.aclose()


async def test_a_connection_idle_for_too_long_is_not_used_again():
    clock = Clock()
    pool = pool_of(2, Dialler(), clock)
    old = await take(pool)
    pool.give_back(old)
    clock.now = 60.0
    assert await take(pool) is not old
    assert not old.is_open
    await pool.aclose()


async def test_idle_connections_are_closed_without_anyone_asking():
    pool = Pool(
        Dialler(),
        max_connections=9,
        idle_timeout=0.03,
        max_age=300.0,
        clock=asyncio.get_running_loop().time,
    )
    first, second = await take(pool), await take(pool)
    pool.give_back(first)
    await asyncio.sleep(0.02)
    pool.give_back(second)
    await asyncio.sleep(0.2)
    assert pool.open == 0
    assert not first.is_open
    assert not second.is_open
    await pool.aclose()


@pytest.mark.parametrize("idle_at_the_end", [True, False])
async def test_35_a_connection_too_old_is_not_used_again(idle_at_the_end):
    clock = Clock()
    pool = pool_of(1, Dialler(), clock, idle_timeout=1000.0)
    old = await take(pool)
    if not idle_at_the_end:
        clock.now = 301.0
    pool.give_back(old)
    clock.now = 301.0
    assert await take(pool) is not old
    assert not old.is_open
    await pool.aclose()


async def test_35_the_first_that_turns_out_dead_takes_its_elders_along():
    clock = Clock()
    pool = pool_of(4, Dialler(), clock)
    held = [await take(pool) for _ in range(4)]
    for instant, connection in enumerate(held):
        clock.now = float(instant)
        pool.give_back(connection)
    newest = await take(pool)
    stale = await take(pool)
    pool.give_back(newest)
    fresh = await pool.replace(stale, connect_timeout=1.0)
    assert [connection.is_open for connection in held] == [False, False, False, True]
    assert fresh not in held
    assert pool.open == 2
    pool.give_back(fresh)
    pool.give_back(stale)
    assert (pool.open, pool.idle) == (2, 2)
    await pool.aclose()


@pytest.mark.parametrize(
    ("seconds", "exchanges", "answered", "purged"),
    [
        (SILENCE, 2, False, True),
        (SILENCE - 1, 2, False, False),  # perhaps its client has hung up
        (SILENCE, 2, True, False),
        (SILENCE, 1, False, False),  # says nothing of those that were made before
    ],
)
async def test_35_one_that_is_given_up_after_a_silence_takes_its_elders_along(
    seconds, exchanges, answered, purged
):
    clock = Clock()
    pool = pool_of(10, Dialler(), clock)
    taken = [await take(pool) for _ in range(4)]
    for connection in taken:
        clock.now += 1
        pool.give_back(connection)
    silent = await take(pool)
    younger = await take(pool)
    clock.now += 1
    pool.give_back(younger)
    assert silent is taken[3]
    silent.dirty, silent.exchanges, silent.answered = True, exchanges, answered
    silent.idle_since = taken[1].idle_since
    clock.now += seconds - 1
    pool.give_back(silent)
    assert [each.is_open for each in taken] == [not purged, not purged, True, False]
    assert pool.open == pool.idle == (1 if purged else 3)
    await pool.aclose()


async def test_a_replacement_that_fails_frees_the_slot():
    dial = Dialler()
    pool = pool_of(1, dial)
    stale = await take(pool)
    dial.fails = True
    with pytest.raises(httpx.ConnectError):
        await pool.replace(stale, connect_timeout=1.0)
    pool.give_back(stale)
    assert pool.open == 0
    await pool.aclose()


async def test_closing_ends_everything_and_may_be_repeated():
    dial = Dialler()
    pool = pool_of(2, dial)
    used, idle = await take(pool), await take(pool)
    waiter = waiting_for(pool)
    await turn()
    pool.give_back(idle)
    taken_again = await waiter
    waiter = waiting_for(pool)
    await turn()
    await pool.aclose()
    await pool.aclose()
    with pytest.raises(httpx.ConnectError):
        await waiter
    with pytest.raises(httpx.ConnectError):
        await take(pool)
    pool.give_back(used)
    pool.give_back(taken_again)
    assert dial.alive == 0
    assert (pool.open, pool.waiting) == (0, 0)


async def test_a_connection_made_while_the_pool_closed_is_closed():
    dial = Dialler()
    dial.delay = 0.01
    pool = pool_of(1, dial)
    task = waiting_for(pool)
    await turn()
    await pool.aclose()
    with pytest.raises(httpx.ConnectError):
        await task
    assert dial.alive == 0
    assert pool.open == 0


@pytest.mark.parametrize("seed", range(5))
async def test_after_thousands_of_random_cancellations_the_pool_is_whole(seed):
    chance = random.Random(seed)
    dial = Dialler()
    size = 8
    pool = pool_of(size, dial)

    async def use() -> None:
        connection = await take(pool)
        try:
            assert pool.open <= size
            assert dial.alive <= size
            connection.dirty = True
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            connection.dirty = chance.random() < 0.2
            if chance.random() < 0.1:
                connection.die()
        finally:
            pool.give_back(connection)

    running: set[asyncio.Task] = set()
    for _ in range(2000):
        dial.fails = chance.random() < 0.1
        task = asyncio.get_running_loop().create_task(use())
        running.add(task)
        if chance.random() < 0.5:
            chance.choice(list(running)).cancel()
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        running = {each for each in running if not each.done() or each.cancelled()}
    dial.fails = False
    await asyncio.gather(*running, return_exceptions=True)

    assert pool.waiting == 0
    assert pool.open == pool.idle <= size
    assert dial.alive == pool.open
    for connection in [await take(pool) for _ in range(size)]:
        pool.give_back(connection)
    assert pool.open == pool.idle == size
    await pool.aclose()
