import asyncio

import pytest

from tests.support.application import logging_kept
from tests.support.serving import HASTE, App, Running, serving, soon


async def test_ready_is_said_once_requests_are_taken() -> None:
    async with serving() as running:
        assert await running.get() == 204
        assert running.apps[0].heard == ["lifespan.startup"]
    assert running.apps[0].heard == ["lifespan.startup", "lifespan.shutdown"]


async def test_only_the_first_listener_owns_the_lifespan_and_all_are_served() -> None:
    async with serving(App(), App()) as running:
        await soon(lambda: running.takes_connections(1))
        assert [await running.get(listener=number) for number in (0, 1)] == [204, 204]
    assert running.apps[0].heard == ["lifespan.startup", "lifespan.shutdown"]
    assert running.apps[1].heard == []
    assert not running.takes_connections(1)


async def test_a_start_that_fails_is_never_said_to_be_ready() -> None:
    running = Running([App(fails=True), App()], HASTE)

    with logging_kept(), pytest.raises(SystemExit) as ended:
        await running.serve()

    assert ended.value.code not in (0, None)
    assert not running.ready.is_set()
    assert not any(running.takes_connections(number) for number in (0, 1))
    for listener in running.listeners:
        listener.socket.close()


async def test_nothing_is_left_of_a_server_and_the_next_one_runs_alike() -> None:
    before = asyncio.all_tasks()
    for _ in range(2):
        async with serving(App(), App()) as running:
            assert await running.get() == 204
        assert asyncio.all_tasks() == before
