"""
The gateway's server in the test's own loop, in front of a small application.

    async with serving() as running:
        assert await running.get() == 204
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
from starlette.types import Message, Receive, Scope, Send

from gateway.server import SIGNALS, Drainable, Listener, Patience, bind, serve_listeners
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
