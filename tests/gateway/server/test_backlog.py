import asyncio

from gateway.server import Bounds
from gateway.server.backlog import Backlog
from tests.support.wire import Memory

BOUNDS = Bounds(write_timeout=10, min_rate=10)


def watched(unsent: int, bounds: Bounds = BOUNDS) -> tuple[Memory, Backlog]:
    transport = Memory()
    transport.lost = lambda _: None
    transport.unsent = unsent
    backlog = Backlog(asyncio.get_running_loop(), transport, bounds)
    backlog.watch()
    return transport, backlog


async def test_a_client_that_keeps_up_is_not_looked_at() -> None:
    transport, _ = watched(0)
    await asyncio.sleep(100)

    assert not transport.is_aborted


async def test_a_client_that_takes_less_than_its_share_is_cut() -> None:
    transport, backlog = watched(1000)
    transport.unsent = 901
    await asyncio.sleep(9)
    assert not transport.is_aborted
    await asyncio.sleep(2)

    assert transport.is_aborted
    assert backlog.was_too_slow


async def test_a_slow_client_that_takes_its_share_each_time_is_not() -> None:
    transport, backlog = watched(1000)
    for _ in range(9):
        transport.unsent -= 100
        await asyncio.sleep(10)
        assert not transport.is_aborted
    await asyncio.sleep(20)

    assert transport.is_aborted
    assert backlog.was_too_slow


async def test_where_any_rate_will_do_nothing_at_all_will_not() -> None:
    transport, backlog = watched(1000, Bounds(write_timeout=10, min_rate=0))
    transport.unsent -= 1
    await asyncio.sleep(11)
    assert not transport.is_aborted
    await asyncio.sleep(10)

    assert transport.is_aborted
    assert backlog.was_too_slow


async def test_one_that_has_caught_up_has_all_the_time_again() -> None:
    transport, backlog = watched(1000)
    await asyncio.sleep(9)
    backlog.close()
    backlog.watch()
    await asyncio.sleep(9)
    assert not transport.is_aborted
    backlog.close()
    await asyncio.sleep(100)

    assert not transport.is_aborted
