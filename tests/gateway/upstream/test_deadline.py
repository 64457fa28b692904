import asyncio
from collections.abc import Callable
from math import inf

import pytest

from gateway.contract.errors import ProviderDisconnected, ProviderTimedOut
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Deadline, Upstream
from gateway.upstream.deadline import Watch
from tests.support import faulty


def now() -> float:
    return asyncio.get_running_loop().time()


def deadline_of_this_task(watch: Watch | None = None) -> Deadline:
    task = asyncio.current_task()
    assert task is not None
    return Deadline(task, watch or Watch())


async def times_out(work, watch: Watch | None = None) -> ProviderTimedOut:
    """What `work`, given a deadline, ends with."""
    with pytest.raises(ProviderTimedOut) as failure, deadline_of_this_task(watch) as deadline:
        await work(deadline)
    assert deadline.expired
    return failure.value


async def test_a_wait_that_is_too_long_ends_under_the_code_of_its_phase():
    async def work(deadline: Deadline):
        deadline.until(now() + 60, "upstream_timeout")
        deadline.until(now() + 0.02, "upstream_stalled")
        await asyncio.sleep(5)

    assert (await times_out(work)).code == "upstream_stalled"


async def test_without_a_limit_nothing_ends_the_block():
    with deadline_of_this_task() as deadline:
        await asyncio.sleep(0.01)
    assert not deadline.expired


async def test_a_block_that_ends_in_time_leaves_nothing_behind():
    with deadline_of_this_task() as deadline:
        deadline.until(now() + 0.01, "upstream_timeout")
    await asyncio.sleep(0.03)
    assert not deadline.expired


async def test_moving_the_limit_away_makes_no_timer():
    loop = asyncio.get_running_loop()
    made = []
    call_at = loop.call_at

    def counted(*args, **options):
        made.append(args[0])
        return call_at(*args, **options)

    counting = type("Loop", (), {"call_at": staticmethod(counted), "time": loop.time})()
    with deadline_of_this_task() as deadline:
        deadline._task = type("Task", (), {"get_loop": lambda _: counting})()
        for _ in range(1000):
            deadline.until(now() + 30, "upstream_stalled")
    assert len(made) == 1


async def test_one_timer_serves_all_deadlines_and_each_ends_when_it_is_due():
    watch, ended = Watch(), []
    started = now()

    async def waits(seconds: float):
        async def work(deadline: Deadline):
            deadline.until(started + seconds, "upstream_timeout")
            await asyncio.sleep(5)

        await times_out(work, watch)
        ended.append(seconds)
        assert seconds - 0.002 <= now() - started < seconds + 1

    async with asyncio.TaskGroup() as group:
        for seconds in (0.3, 0.1, 0.2, 0.101, 0.1):
            group.create_task(waits(seconds))
        await asyncio.sleep(0)
        assert len(watch.open) == 5
        assert watch.armed_for == started + 0.1
    assert sorted(ended[:3]) == [0.1, 0.1, 0.101]
    assert ended[3:] == [0.2, 0.3]
    assert not watch.open
    assert watch.armed_for == inf


async def test_a_deadline_that_is_over_is_forgotten_and_stays_so():
    watch = Watch()
    with deadline_of_this_task(watch) as deadline:
        deadline.until(now() + 60, "upstream_timeout")
        assert watch.open == {deadline}
    deadline.until(now() - 1, "upstream_timeout")
    with deadline_of_this_task(watch) as unused:
        assert not watch.open
    unused.until(now() - 1, "upstream_timeout")
    assert not watch.open
    await asyncio.sleep(0.02)
    assert not deadline.expired
    assert not unused.expired
    assert watch.armed_for == inf


async def test_a_closed_watch_has_no_timer_and_looks_again_when_it_must():
    watch = Watch()

    async def work(deadline: Deadline):
        deadline.until(now() + 0.01, "upstream_timeout")
        watch.close()
        await asyncio.sleep(0.05)
        assert not deadline.expired
        deadline.until(now() + 0.01, "upstream_timeout")
        await asyncio.sleep(5)

    await times_out(work, watch)


async def test_a_limit_that_keeps_moving_does_not_fire():
    with deadline_of_this_task() as deadline:
        for _ in range(15):
            deadline.until(now() + 0.5, "upstream_stalled")
            await asyncio.sleep(0.05)
    assert not deadline.expired


async def test_a_limit_that_stops_moving_fires_at_its_last_instant():
    started = now()

    async def work(deadline: Deadline):
        for step in range(10):
            deadline.until(started + 0.02 + step * 0.01, "upstream_stalled")
        await asyncio.sleep(5)

    await times_out(work)
    assert 0.1 <= now() - started < 1


async def test_a_pause_lifts_the_limit_until_it_is_set_again():
    async def work(deadline: Deadline):
        deadline.until(now() + 0.01, "upstream_timeout")
        deadline.pause()
        await asyncio.sleep(0.05)
        assert not deadline.expired
        deadline.until(now() + 0.01, "upstream_stalled")
        await asyncio.sleep(5)

    assert (await times_out(work)).code == "upstream_stalled"


async def test_an_instant_in_the_past_ends_the_next_wait():
    async def work(deadline: Deadline):
        deadline.until(now() - 1, "upstream_timeout")
        await asyncio.sleep(5)

    await times_out(work)


async def test_another_error_passes_as_it_is():
    async def work():
        with deadline_of_this_task() as deadline:
            deadline.until(now() + 60, "upstream_timeout")
            raise ProviderDisconnected("gone")

    with pytest.raises(ProviderDisconnected):
        await work()


async def test_after_a_timeout_the_task_is_not_cancelled():
    async def work(deadline: Deadline):
        deadline.until(now(), "upstream_timeout")
        await asyncio.sleep(5)

    for _ in range(3):
        await times_out(work)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_cancellation_from_outside_is_never_taken_for_a_timeout():
    async def work():
        with deadline_of_this_task() as deadline:
            deadline.until(now() + 60, "upstream_timeout")
            await asyncio.sleep(5)

    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("first", ["deadline", "outside"])
async def test_where_both_cancel_in_one_turn_the_outside_wins(first):
    entered: list[Deadline] = []

    async def work():
        with deadline_of_this_task() as deadline:
            entered.append(deadline)
            await asyncio.sleep(5)

    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    if first == "outside":
        task.cancel()
    entered[0].until(0.0, "upstream_timeout")
    entered[0]._watch._look(task.get_loop())
    if first == "deadline":
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert entered[0].expired


async def test_a_timeout_in_the_turn_of_the_result_is_still_a_timeout_of_the_block():
    result = asyncio.get_running_loop().create_future()

    async def work():
        with deadline_of_this_task() as deadline:
            entered.append(deadline)
            await result

    entered: list[Deadline] = []
    task = asyncio.get_running_loop().create_task(work())
    await asyncio.sleep(0)
    result.set_result(None)
    entered[0].until(0.0, "upstream_timeout")
    entered[0]._watch._look(task.get_loop())
    with pytest.raises(ProviderTimedOut):
        await task


async def test_of_two_nested_limits_the_one_that_was_reached_is_named():
    async def work(total: Deadline):
        total.until(now() + 0.02, "outer")
        with deadline_of_this_task() as phase:
            phase.until(now() + 60, "inner")
            await asyncio.sleep(5)

    assert (await times_out(work)).code == "outer"


async def test_of_two_nested_limits_reached_at_once_the_outer_is_named():
    async def work(total: Deadline):
        with deadline_of_this_task() as phase:
            total.until(now(), "outer")
            phase.until(now(), "inner")
            await asyncio.sleep(5)

    assert (await times_out(work)).code == "outer"


async def test_05_accepts_but_never_answers_ends_the_sending_and_frees_the_connection(
    upstream: Upstream, chat: Callable[..., UpstreamRequest]
):
    async with faulty.serving(faulty.hanging) as server:

        async def work(deadline: Deadline):
            deadline.until(now() + 0.05, "upstream_timeout")
            async with upstream.send(chat(server.origin), public=False):
                pytest.fail("there was no answer")

        assert (await times_out(work)).code == "upstream_timeout"
        await server.until_live(0)


async def test_08_stalls_mid_stream_ends_the_reading_and_frees_the_connection(
    upstream: Upstream, chat: Callable[..., UpstreamRequest]
):
    async def stalls(peer: faulty.Peer):
        await peer.request()
        await peer.send(faulty.chunked_head(), faulty.chunk(b"data: 1\n\n"))
        await peer.hang()

    got = []
    async with faulty.serving(stalls) as server:

        async def work(deadline: Deadline):
            async with upstream.send(chat(server.origin), public=False) as answer:
                deadline.until(now() + 0.05, "upstream_stalled")
                async for piece in answer:
                    got.append(piece)  # noqa: PERF401 - what came before the failure counts

        assert (await times_out(work)).code == "upstream_stalled"
        await server.until_live(0)
    assert got == [b"data: 1\n\n"]


@pytest.mark.parametrize(
    "pieces",
    [
        [bytes([each]) for each in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000],
        [b"HTTP/1.1 103 Hints\r\n\r\n"] * 5 + [b"HTTP/1.1 200 "] + [b"O"] * 1000,
        [b"HTTP/1.1 200 OK\r\n"] + [b"x: y\r\n"] * 200,
    ],
    ids=["one byte at a time", "hints first", "one header at a time"],
)
async def test_06_headers_trickle_under_the_same_deadline(
    upstream: Upstream, chat: Callable[..., UpstreamRequest], pieces: list[bytes]
):
    async with faulty.serving(faulty.dripping(pieces, pause=0.02)) as server:

        async def work(deadline: Deadline):
            deadline.until(now() + 0.2, "upstream_timeout")
            async with upstream.send(chat(server.origin), public=False):
                pytest.fail("the headers have no end")

        assert (await times_out(work)).code == "upstream_timeout"
        await server.until_live(0)
