import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.server import (
    MAX_HEAD,
    SIGNALS,
    AddressInUse,
    Drainable,
    Listener,
    Patience,
    bind,
    serve_listeners,
)
from tests.support.application import logging_kept
from tests.support.simulator import eventually

LOOPBACK = "127.0.0.1"
HASTE = Patience(delay=0.0, drain=60.0)

soon = partial(eventually, within=10)
"""For what takes no time, but on a busy machine."""


class App:
    """Answers at once; `/hold` when it is told to, or is cut."""

    def __init__(self, *, fails: bool = False) -> None:
        self.heard: list[str] = []
        self.holding = 0
        self.release = asyncio.Event()
        self._fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["path"] == "/hold":
            self.holding += 1
            await self.release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Receive, send: Send) -> None:
        message: Message = {"type": ""}
        while message["type"] != "lifespan.shutdown":
            message = await receive()
            self.heard.append(message["type"])
            ended = "failed" if self._fails else "complete"
            await send({"type": f"{message['type']}.{ended}"})


class Gateway(Drainable):
    """Keeps what it was told, and when."""

    def __init__(self, app: App) -> None:
        self.told: list[str] = []
        self._app = app

    def drain(self) -> None:
        self.told.append("drain")

    def cut(self) -> None:
        self.told.append("cut")
        self._app.release.set()


class Running:
    """Listeners that are served in this loop."""

    def __init__(self, apps: list[App], patience: Patience) -> None:
        self.apps = apps
        self.gateway = Gateway(apps[0])
        self.listeners = [Listener(app, bind(LOOPBACK, 0)) for app in apps]
        self.urls = [listener.url for listener in self.listeners]
        self.ready = asyncio.Event()
        self.ended = False
        self._patience = patience

    async def serve(self) -> None:
        await serve_listeners(self.listeners, self.gateway, self._patience, ready=self.ready.set)
        self.ended = True

    async def get(self, path: str = "/", *, listener: int = 0) -> int:
        async with httpx.AsyncClient() as http:
            return (await http.get(self.urls[listener] + path)).status_code

    def takes_connections(self, listener: int = 0) -> bool:
        host, port = self.urls[listener].removeprefix("http://").split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0


@asynccontextmanager
async def serving(*apps: App, patience: Patience = HASTE) -> AsyncIterator[Running]:
    running = Running(list(apps) or [App()], patience)
    with logging_kept():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.serve())
            await running.ready.wait()
            try:
                yield running
            finally:
                for app in running.apps:
                    app.release.set()
                if not running.gateway.told:
                    signalled()
    assert running.ended
    for number in SIGNALS:
        assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


def signalled(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


# Binding


def test_port_0_takes_a_free_one() -> None:
    async def app(*_: object) -> None:
        """Never called."""

    with bind(LOOPBACK, 0) as first, bind(LOOPBACK, 0) as second:
        ports = {first.getsockname()[1], second.getsockname()[1]}
        assert len(ports) == 2
        assert Listener(app, first).url == f"http://127.0.0.1:{first.getsockname()[1]}"


def test_an_address_of_six_is_written_in_brackets() -> None:
    async def app(*_: object) -> None:
        """Never called."""

    with bind("::1", 0) as bound:
        assert Listener(app, bound).url == f"http://[::1]:{bound.getsockname()[1]}"


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with bind(LOOPBACK, 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse) as refused:
            bind(LOOPBACK, port)

    assert str(refused.value) == f"can't listen on 127.0.0.1:{port}: Address already in use"
    assert refused.value.exit_code == 1


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1", "1.2.3.4.5", "[::1]"])
def test_an_address_that_is_not_ours_is_told_in_one_line(host: str) -> None:
    with pytest.raises(AddressInUse) as refused:
        bind(host, 0)

    assert str(refused.value).startswith(f"can't listen on {host}:0: ")
    assert "\n" not in str(refused.value)


def test_a_port_can_be_bound_again_at_once_after_a_connection() -> None:
    first = bind(LOOPBACK, 0)
    first.listen()
    address = first.getsockname()
    with socket.create_connection(address):
        accepted, _ = first.accept()
        accepted.close()
        first.close()
    bind(*address).close()


# Serving


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


async def test_nothing_is_left_of_a_server_and_the_next_one_runs_alike() -> None:
    before = asyncio.all_tasks()
    for _ in range(2):
        async with serving(App(), App()) as running:
            assert await running.get() == 204
        assert asyncio.all_tasks() == before


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.parametrize("line", [b"a: b\r\n", b"a" * 1000])
async def test_a_head_without_an_end_is_refused_and_not_kept(line: bytes) -> None:
    async with serving() as running:
        reader, writer = await _connected(running.urls[0])
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        with suppress(ConnectionError):
            for _ in range(3 * MAX_HEAD // len(line)):
                writer.write(line)
                await writer.drain()
        with suppress(ConnectionError):
            assert b" 431 " in await reader.readline()
        writer.close()
        assert running.apps[0].heard == ["lifespan.startup"]


async def test_a_body_is_no_part_of_the_head() -> None:
    async with serving() as running, httpx.AsyncClient() as http:
        for _ in range(2):
            answer = await http.post(running.urls[0], content=b"x" * 4 * MAX_HEAD)
            assert answer.status_code == 204
