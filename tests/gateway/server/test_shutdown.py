import asyncio
import signal

import httpx
import pytest

from gateway.server import SIGNALS, Patience
from tests.support.serving import serving, signalled, soon


@pytest.mark.parametrize("number", SIGNALS)
async def test_requests_on_their_way_finish_after_a_signal(number: int) -> None:
    async with serving() as running, asyncio.TaskGroup() as tasks:
        held = tasks.create_task(running.get("/hold"))
        await soon(lambda: running.apps[0].holding == 1)
        signalled(number)
        await soon(lambda: not running.takes_connections())
        assert running.gateway.told == ["drain"]
        assert not held.done()
        assert running.apps[0].heard == ["lifespan.startup"]
        running.apps[0].release.set()
    assert held.result() == 204
    assert running.gateway.told == ["drain"]


async def test_after_a_signal_requests_are_taken_for_the_delay() -> None:
    async with serving(patience=Patience(delay=0.3, drain=60.0)) as running:
        signalled()
        await soon(lambda: running.gateway.told == ["drain"])
        assert await running.get() == 204
        await soon(lambda: running.ended)
    assert running.gateway.told == ["drain"]


async def test_what_has_not_finished_when_the_time_to_drain_is_over_is_cut() -> None:
    async with (
        serving(patience=Patience(delay=0.05, drain=0.1)) as running,
        asyncio.TaskGroup() as tasks,
    ):
        held = tasks.create_task(running.get("/hold"))
        await soon(lambda: running.apps[0].holding == 1)
        signalled()
        await soon(held.done)
    assert held.result() == 204  # the last words of a request that was cut
    assert running.gateway.told == ["drain", "cut"]


async def test_a_second_signal_cuts_at_once() -> None:
    async with (
        serving(patience=Patience(delay=60, drain=600)) as running,
        asyncio.TaskGroup() as tasks,
    ):
        held = tasks.create_task(running.get("/hold"))
        await soon(lambda: running.apps[0].holding == 1)
        signalled()
        await soon(lambda: running.gateway.told == ["drain"])
        signalled(signal.SIGINT)
        await soon(held.done)
        await soon(lambda: running.ended)
    assert running.gateway.told == ["drain", "cut"]


async def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    async with serving() as running, httpx.AsyncClient() as http:
        assert (await http.get(running.urls[0])).status_code == 204
        signalled()
        await soon(lambda: running.ended)
