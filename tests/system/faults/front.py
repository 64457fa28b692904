"""
A Redis as the gateway sees it: a real one behind a door that a test may slow down, or at which
somebody else answers.
"""

import asyncio
from collections import Counter
from contextlib import suppress

import hiredis

from tests.support.faulty import Peer
from tests.support.redis_server import RedisServer
from tests.system.faults.upstreams import Stage


class Front:
    """
    The door. `latency` is seconds before each piece of an answer; while there is an `answer` it
    is given to every command, and Redis hears of none. `asked` counts commands since `says`.
    """

    def __init__(self, stage: Stage, server: RedisServer) -> None:
        self.latency = 0.0
        self.answer = b""
        self.asked: Counter[str] = Counter()
        self._path = server.url.removeprefix("unix://")
        self._stage = stage
        self._server = stage.listen(self._play)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.port}"

    def says(self, answer: bytes = b"", *, latency: float = 0.0) -> None:
        """From now on, on new connections: those that are open end."""
        self._stage.run(self._become(answer, latency))

    async def _become(self, answer: bytes, latency: float) -> None:
        self.answer, self.latency = answer, latency
        self.asked.clear()
        for peer in self._server.peers:
            peer.writer.transport.abort()
        self._server.peers.clear()

    async def _play(self, peer: Peer) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                back = tasks.create_task(self._bring_back(reader, peer))
                await self._pass_on(peer, writer)
                back.cancel()
        finally:
            writer.transport.abort()

    async def _pass_on(self, peer: Peer, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        with suppress(OSError):
            while data := await peer.reader.read(65536):
                commands.feed(data)
                named = []
                while (command := commands.gets()) is not False:
                    named.append(command[0].decode().lower())
                self.asked.update(named)
                if self.answer:
                    await peer.send(self.answer * len(named))
                else:
                    writer.write(data)
                    await writer.drain()

    async def _bring_back(self, reader: asyncio.StreamReader, peer: Peer) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.latency)
                await peer.send(data)
        peer.writer.transport.abort()
