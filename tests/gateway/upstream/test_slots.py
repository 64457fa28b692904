import asyncio

import httpx
import pytest

from gateway.upstream.slots import Slots


def asking(slots: Slots, within: float = 5.0) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(slots.take(within))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_there_are_are_taken_and_the_rest_wait_in_their_order():
    slots = Slots(2)
    tasks = [asking(slots) for _ in range(5)]
    await turns()
    assert (slots.taken, slots.waiting) == (2, 3)
    for done in range(3, 6):
        slots.give_back()
        await turns()
        assert [task.done() for task in tasks] == [number < done for number in range(5)]
    slots.give_back()
    slots.give_back()
    assert (slots.taken, slots.waiting) == (0, 0)


async def test_a_wait_that_is_too_long_is_named_and_leaves_the_queue():
    slots = Slots(1)
    await slots.take(1.0)
    with pytest.raises(httpx.PoolTimeout):
        await slots.take(0.01)
    assert (slots.taken, slots.waiting) == (1, 0)
    slots.give_back()
    assert slots.taken == 0


@pytest.mark.parametrize("given", [False, True])
async def test_whoever_is_cancelled_leaves_a_slot_to_the_next(given: bool):
    slots = Slots(1)
    await slots.take(1.0)
    first, second = asking(slots), asking(slots)
    await turns()
    if given:
        slots.give_back()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    if not given:
        slots.give_back()
    await second
    assert (slots.taken, slots.waiting) == (1, 0)
    slots.give_back()
    assert slots.taken == 0


async def test_a_slot_is_not_given_to_whom_it_is_too_late_for():
    slots = Slots(1)
    await slots.take(1.0)
    late = asking(slots)
    await turns()
    late.cancel()
    slots.give_back()  # before the cancelled task has had its turn
    await asyncio.gather(late, return_exceptions=True)
    assert (slots.taken, slots.waiting) == (0, 0)
