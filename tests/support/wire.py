"""
A connection of the gateway's server without a socket: bytes in, bytes out.

    wire = Wire()
    wire.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await wire.settled()
    wire.heard
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.server import Bounds
from gateway.server.protocol import Connection

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Memory(asyncio.Transport):
    """A transport that keeps what is written; its peer takes all of it, or nothing."""

    def __init__(self, fd: int = 10) -> None:
        super().__init__()
        self.written = bytearray()
        self.unsent = 0
        self.is_aborted = False
        self.reads = True
        self._fd = fd
        self._closing = False
        self.lost: Any = None

    def fileno(self) -> int:
        return self._fd

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self, "peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)}.get(
            name, default
        )

    # As a socket, for who asks where it leads.
    family = 2

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.2", 80)

    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.1", 5)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._closing, "nothing is written to a closed connection"
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.unsent:
                asyncio.get_running_loop().call_soon(self.lost, None)

    def abort(self) -> None:
        self.is_aborted = True
        self.unsent = 0
        self._closing = False
        self.close()


class Seen:
    """An application that answers 204 to whatever it sees, once it has the whole body."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.headers.append(list(scope["headers"]))
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Wire:
    """One connection; must be made within a running loop."""

    def __init__(self, app: Any = None, bounds: Bounds | None = None, *, fd: int = 10) -> None:
        self.app = Seen() if app is None else app
        self.state = ServerState()
        config = uvicorn.Config(self.app, ws="none", lifespan="off", log_config=None)
        self.connection = Connection(
            bounds or Bounds(), config=config, server_state=self.state, app_state={}
        )
        self.transport = Memory(fd)
        self.transport.lost = self.connection.connection_lost
        self.connection.connection_made(self.transport)

    def say(self, *pieces: bytes) -> None:
        """The client sends; nothing more arrives at a connection that has closed."""
        for piece in pieces:
            if not self.transport.is_closing():
                self.connection.data_received(piece)

    def leave(self) -> None:
        """The client closes its connection."""
        self.transport.close()

    async def settled(self) -> None:
        """Everything that can happen without more bytes has happened."""
        for _ in range(5000):
            await asyncio.sleep(0)
            if not any(task for task in self.state.tasks if not task.done()):
                break

    @property
    def heard(self) -> bytes:
        return bytes(self.transport.written)

    @property
    def is_closed(self) -> bool:
        return self.transport.is_closing()


def statuses(answers: bytes) -> Sequence[int]:
    """The status of each answer, of which none has a body with such a line in it."""
    return [int(found) for found in _STATUS.findall(answers)]
