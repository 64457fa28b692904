"""
A line between two processes that is as bad as a test wants it.

A TCP proxy that delays, slows, slices, cuts or swallows what passes; what it does may change
while connections are open. It knows nothing of what it carries.

    async with shaping(port, Toxic(slice=1)) as line:
        ...  # talk to line.port
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

READ = 16 * 1024
"""Bytes taken at once."""


@dataclass(frozen=True, slots=True)
class Toxic:
    """
    What becomes of the bytes that come from the server; those to it pass as they are.

    `latency` is seconds before each piece, `bandwidth` bytes a second and `slice` the bytes of a
    segment, both 0 for any. After `reset_after` bytes both ends are reset. `is_silent` swallows
    everything, in both directions; `is_half_open` only the news that an end has closed.
    """

    latency: float = 0.0
    bandwidth: int = 0
    slice: int = 0
    reset_after: int | None = None
    is_silent: bool = False
    is_half_open: bool = False


@dataclass(slots=True)
class Line:
    """
    Where to connect instead, and what is done. `carried` counts connections, of which the first
    `forgotten` are silent for ever.
    """

    toxic: Toxic
    port: int = 0
    carried: int = 0
    forgotten: int = 0

    def forget(self) -> None:
        """As a router in between that loses its table: what is open is dead, and nobody told."""
        self.forgotten = self.carried

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def shaping(port: int, toxic: Toxic) -> AsyncIterator[Line]:
    """A line to a server on loopback; whatever is open is cut on leaving."""
    line = Line(toxic)
    playing: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line.carried += 1
        wire = _Wire(line, line.carried)
        task = asyncio.get_running_loop().create_task(_carry(wire, port, reader, writer))
        playing.add(task)
        task.add_done_callback(playing.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", backlog=1024)
    line.port = listener.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        listener.close()
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
        await listener.wait_closed()


@dataclass(frozen=True, slots=True)
class _Wire:
    """One connection."""

    line: Line
    number: int

    @property
    def is_silent(self) -> bool:
        return self.line.toxic.is_silent or self.number <= self.line.forgotten


async def _carry(
    wire: _Wire, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection, until both of its ends are done."""
    try:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        _reset(writer)
        return
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pass_on(wire, reader, to_server))
            tasks.create_task(_shape(wire, from_server, writer, to_server))
    finally:
        for each in (writer, to_server):
            each.transport.abort()


async def _pass_on(wire: _Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(READ):
            if not wire.is_silent:
                writer.write(piece)
                await writer.drain()
    await _end(wire, writer)


async def _shape(
    wire: _Wire,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    to_server: asyncio.StreamWriter,
) -> None:
    passed = 0
    with suppress(OSError):
        while data := await reader.read(READ):
            for piece in _sliced(data, wire.line.toxic):
                toxic = wire.line.toxic
                if wire.is_silent:
                    continue
                await asyncio.sleep(_delay(toxic, len(piece)))
                writer.write(piece)
                await writer.drain()
                passed += len(piece)
                if toxic.reset_after is not None and passed >= toxic.reset_after:
                    _reset(writer)
                    _reset(to_server)
                    return
    await _end(wire, writer)


def _sliced(data: bytes, toxic: Toxic) -> list[bytes]:
    sizes = [toxic.slice or READ]
    if toxic.bandwidth:
        sizes.append(max(1, toxic.bandwidth // 20))
    if toxic.reset_after is not None:
        sizes.append(max(1, toxic.reset_after))
    size = min(sizes)
    return [data[at : at + size] for at in range(0, len(data), size)]


def _delay(toxic: Toxic, size: int) -> float:
    return toxic.latency + (size / toxic.bandwidth if toxic.bandwidth else 0.0)


async def _end(wire: _Wire, writer: asyncio.StreamWriter) -> None:
    """Tell the other end, unless the line forgets to."""
    if wire.is_silent or wire.line.toxic.is_half_open:
        await asyncio.Event().wait()  # nobody ever hears of it
    with suppress(OSError):
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    plug = writer.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
