"""An interrupt comes out of the block as what it had to say, and nothing else does."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline import ClientHungUp, Interrupt


class Other(Exception):
    """Anything else."""


async def held(interrupt: Interrupt, seconds: float = 10.0) -> str:
    with interrupt:
        await asyncio.sleep(seconds)
    return "ended by itself"


@given(st.lists(st.sampled_from(["interrupt", "cancel"]), max_size=4))
async def test_the_first_call_wins_and_a_cancellation_from_outside_wins_over_it(
    calls: list[str],
) -> None:
    interrupt = Interrupt()
    errors = [ClientHungUp(), *[Other() for _ in range(4)]]
    ended: list[object] = []

    async def run() -> None:
        try:
            ended.append(await held(interrupt))
        except (ClientHungUp, Other, asyncio.CancelledError) as error:
            ended.append(error)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        await asyncio.sleep(1)
        for call, error in zip(calls, errors, strict=False):
            if call == "interrupt":
                interrupt(error)
            else:
                task.cancel()

    (end,) = ended
    if "cancel" in calls:
        assert isinstance(end, asyncio.CancelledError)
        assert task.cancelling() == calls.count("cancel")
    elif calls:
        assert end is errors[0]
        assert task.cancelling() == 0
    else:
        assert end == "ended by itself"


async def test_a_task_that_was_interrupted_can_wait_again() -> None:
    interrupt = Interrupt()
    asyncio.get_running_loop().call_later(1, interrupt, ClientHungUp())

    with pytest.raises(ClientHungUp):
        await held(interrupt)

    await asyncio.sleep(1)


async def test_an_interrupt_does_nothing_outside_of_its_block() -> None:
    interrupt = Interrupt()

    interrupt(ClientHungUp())
    await held(interrupt)
    interrupt(ClientHungUp())
    await asyncio.sleep(1)

    assert interrupt.error is None


async def test_an_interrupt_that_was_disarmed_does_nothing() -> None:
    interrupt = Interrupt()
    with interrupt:
        interrupt.disarm()
        interrupt(ClientHungUp())
        await asyncio.sleep(1)

    assert interrupt.error is None


async def test_what_goes_on_after_the_end_is_hurried_by_any_call_but_a_hang_up() -> None:
    interrupt = Interrupt()
    hurried: list[str] = []
    with interrupt:
        interrupt.disarm()
        with interrupt.hurries(lambda: hurried.append("once")):
            interrupt(ClientHungUp())
            assert not hurried
            interrupt(Other())
        interrupt(Other())
        with interrupt.hurries(lambda: hurried.append("at once")):
            pass

    assert hurried == ["once", "at once"]
    assert interrupt.error is None


async def test_an_error_of_the_blocks_own_passes() -> None:
    interrupt = Interrupt()

    async def fails_when_cancelled() -> None:
        with interrupt:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise Other from None

    asyncio.get_running_loop().call_later(1, interrupt, ClientHungUp())
    with pytest.raises(Other):
        await fails_when_cancelled()

    assert isinstance(interrupt.error, ClientHungUp)
    await asyncio.sleep(1)


async def test_an_interrupt_inside_a_time_out_is_not_taken_for_it() -> None:
    interrupt = Interrupt()

    async def waits() -> None:
        with interrupt:
            async with asyncio.timeout(5):
                await asyncio.sleep(10)

    asyncio.get_running_loop().call_later(1, interrupt, ClientHungUp())
    with pytest.raises(ClientHungUp):
        await waits()
