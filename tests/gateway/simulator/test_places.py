import asyncio

import pytest

from gateway.simulator.link import HungUp, Link
from gateway.simulator.places import Places


class _Transport(asyncio.Transport):
    pass


def link() -> Link:
    return Link(_Transport(), asyncio.get_running_loop())


async def test_who_waits_longest_is_next() -> None:
    places = Places(1)
    served: list[int] = []

    async def work(number: int) -> None:
        await places.take(link())
        served.append(number)
        await asyncio.sleep(0)
        places.give()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(work(number))

    assert served == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("handed_first", [True, False])
async def test_a_client_that_leaves_the_queue_neither_takes_nor_loses_a_place(
    handed_first: bool,
) -> None:
    places = Places(1)
    await places.take(link())
    leaving = link()
    loop = asyncio.get_running_loop()
    left = loop.create_task(places.take(leaving))
    await asyncio.sleep(0)

    if handed_first:
        places.give()
        leaving.lost()
    else:
        leaving.lost()
        places.give()
    with pytest.raises(HungUp):
        await left

    await asyncio.wait_for(places.take(link()), 1)
    second = loop.create_task(places.take(link()))
    await asyncio.sleep(0)
    assert not second.done()
    places.give()
    await second


async def test_a_cancelled_wait_leaves_no_trace() -> None:
    places = Places(1)
    await places.take(link())
    waiting = asyncio.get_running_loop().create_task(places.take(link()))
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])
    places.give()

    await asyncio.wait_for(places.take(link()), 1)
