"""
Upstreams that can lie, beside a real gateway: raw servers on an event loop in a thread.

A test says what an upstream answers before it asks the gateway; what the upstream has seen it
may read at any time.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.support.faulty import Peer, Received, Script, Server, serving
from tests.support.toxic import Line, Toxic, shaping
from tests.system.faults.answers import stream, whole

T = TypeVar("T")

Reply = bytes | Callable[[Peer], Awaitable[None]]
"""
What comes in answer to one request: bytes, after which the connection goes on, or something that
plays the server itself, after which it is closed.
"""


class Stage:
    """The loop on which upstreams play, and whatever else shall be beside the test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="upstreams")
        self._opened = AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.run(self._opened.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it on the loop; what has come of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def listen(
        self, script: Script, *, port: int = 0, context: ssl.SSLContext | None = None
    ) -> Server:
        """A server until the stage is left."""
        opened = serving(script, port=port, context=context)
        return self.run(self._opened.enter_async_context(opened))

    def shape(self, port: int) -> Line:
        """A line to a server, until the stage is left."""
        return self.run(self._opened.enter_async_context(shaping(port, Toxic())))


class Upstream:
    """
    One upstream. `reply` decides what comes in answer to a request; a connection without
    another one is closed after `patience` seconds.
    """

    def __init__(self, stage: Stage, *, context: ssl.SSLContext | None = None) -> None:
        self.reply: Callable[[Received], Reply] = sanely
        self.patience: float | None = None
        self.server = stage.listen(self._play, context=context)
        self._stage = stage

    @property
    def url(self) -> str:
        return self.server.origin

    @property
    def asked(self) -> int:
        """Requests that it has got."""
        return len(self.server.requests)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Their bodies."""
        return [json.loads(each.body) for each in self.server.requests]

    def says(self, reply: Reply) -> None:
        """This in answer to every request."""
        self.reply = lambda _: reply

    def says_each(self, replies: Mapping[str, Reply]) -> None:
        """To each case its own; a case is named in the request's `user`."""
        self.reply = lambda received: replies[json.loads(received.body)["user"]]

    def fresh(self) -> None:
        """As it was at first; whoever is still connected is cut off."""
        self.reply, self.patience = sanely, None
        self._stage.run(self._cut_off())

    async def _cut_off(self) -> None:
        for peer in self.server.peers:
            peer.writer.transport.abort()
        self.server.peers.clear()
        self.server.requests.clear()
        self.server.failures.clear()
        self.server.accepted = 0

    async def _play(self, peer: Peer) -> None:
        received = await peer.request()
        while received is not None:
            reply = self.reply(received)
            if not isinstance(reply, bytes):
                await reply(peer)
                return
            await peer.send(reply)
            received = await self._another(peer)

    async def _another(self, peer: Peer) -> Received | None:
        try:
            async with asyncio.timeout(self.patience):
                return await peer.request()
        except TimeoutError:
            return None


def sanely(received: Received) -> bytes:
    """What an upstream says that is well."""
    return stream() if json.loads(received.body).get("stream") else whole()


# Replies that end the connection


def cut(*pieces: bytes, rst: bool = False) -> Reply:
    """Say so much and end the connection, with FIN or RST."""

    async def play(peer: Peer) -> None:
        await peer.send(*pieces)
        if rst:
            peer.reset()

    return play


def fall_silent(*pieces: bytes) -> Reply:
    """Say so much and no more, until the gateway gives up."""

    async def play(peer: Peer) -> None:
        await peer.send(*pieces)
        await peer.hang()

    return play


def drip(pieces: list[bytes], *, pause: float = 0.0) -> Reply:
    """Each piece in a segment of its own."""

    async def play(peer: Peer) -> None:
        await peer.send(*pieces, pause=pause)

    return play


def forever(first: bytes, again: bytes) -> Reply:
    """Say the first, and then the second until the gateway has had enough of it."""

    async def play(peer: Peer) -> None:
        with suppress(ConnectionError):
            await peer.send(first)
            while True:
                await peer.send(again)

    return play
