"""Load of requests that differ: each is sent once, in order, over a few connections."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any

CONNECTIONS = 32
PATIENCE = 0.05
"""Seconds that a request may take on average."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200"


class _Connection(asyncio.Protocol):
    """Sends the next request whenever the last is answered. `ended` is done when none is left."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._waiting = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        waiting = self._waiting = self._waiting + data
        head = waiting.find(b"\r\n\r\n") + 4
        if head < 4:
            return
        length = _LENGTH.search(waiting, 0, head)
        if length is None or not waiting.startswith(_OK):
            self._end_by(ConnectionError(waiting[:400]))
        elif len(waiting) >= head + int(length[1]):
            self._waiting = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_by(exc or ConnectionError("closed by the other side"))

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
            return
        self._end_by(None)
        self._transport.close()

    def _end_by(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


async def send(
    port: int, requests: Iterable[bytes], *, count: int, connections: int = CONNECTIONS
) -> None:
    """
    Send them all, `count` in number, and wait for the answers.

    Raises:
        ConnectionError: an answer was not a whole 200.
        TimeoutError: it took too long.
    """
    loop = asyncio.get_running_loop()
    shared = iter(requests)
    async with asyncio.timeout(10 + count * PATIENCE):
        opened = [
            (await loop.create_connection(lambda: _Connection(shared), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(each.ended for each in opened))
