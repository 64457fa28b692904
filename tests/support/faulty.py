"""
An upstream that can lie: a raw TCP server whose every byte a script decides.

A script is an async function that is given one `Peer` a connection and plays the server on it.
When it returns, the connection is closed in an orderly way. No HTTP framework is involved, so
nothing here mends what a test means to break.

    async with serving(replying(response(b'{"a": 1}'))) as server:
        ...  # server.origin, server.requests, server.accepted
"""

import asyncio
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.debian import command


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came; header names in lower case, the last of a repeated one."""

    line: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """One accepted connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: "Server"
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._server = server

    async def request(self) -> Received | None:
        """The next whole request, framed by content-length; None when the client is gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *rest = head[:-4].decode("latin-1").split("\r\n")
            headers = {n.lower(): v for n, _, v in (each.partition(": ") for each in rest)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        received = Received(line, headers, body)
        self._server.requests.append(received)
        return received

    async def head(self) -> bytes:
        """The bytes of the next request up to its body, which is left unread."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, *pieces: bytes, pause: float = 0.0) -> None:
        """
        Send each piece in a segment of its own, waiting `pause` seconds after it.

        Raises:
            ConnectionError: the client has gone, which ends a script quietly.
        """
        for piece in pieces:
            if self.writer.transport.is_closing():
                raise ConnectionResetError("the client has gone")
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def gone(self) -> None:
        """Wait until the client has closed or reset the connection, discarding what it sends."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    async def hang(self) -> None:
        """Say nothing more, until the client gives up."""
        await self.gone()

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.writer.write_eof()

    def reset(self) -> None:
        """End with RST instead of FIN."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """
    What the scripts have seen. `accepted` counts connections, `live` those that a script still
    plays on, `peers` are those in order of arrival, `failures` what scripts have raised.
    """

    port: int = 0
    scheme: str = "http"
    accepted: int = 0
    live: int = 0
    requests: list[Received] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def until_live(self, count: int, *, within: float = 5.0) -> None:
        """
        Wait until that many connections are alive.

        Raises:
            TimeoutError: after `within` seconds they are not.
        """
        async with asyncio.timeout(within):
            while self.live != count:  # noqa: ASYNC110 - no event for every count
                await asyncio.sleep(0.001)


class _Stage:
    """Where scripts are played: owns their tasks."""

    def __init__(self, script: Script, server: Server) -> None:
        self._script = script
        self._server = server
        self._playing: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self._server)
        self._server.accepted += 1
        self._server.live += 1
        self._server.peers.append(peer)
        task = asyncio.get_running_loop().create_task(self._play(peer))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def clear(self) -> None:
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)
        for peer in self._server.peers:
            peer.writer.transport.abort()

    async def _play(self, peer: Peer) -> None:
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            peer.writer.transport.abort()  # the client went away
        except Exception as error:  # noqa: BLE001 - kept for the test, which it fails
            self._server.failures.append(error)
            peer.writer.transport.abort()
        finally:
            self._server.live -= 1
            peer.writer.close()
            with suppress(OSError):
                await peer.writer.wait_closed()


@asynccontextmanager
async def serving(
    script: Script, *, port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """
    Listen on loopback and play `script` on each connection; a free port unless one is given.

    What a script raises fails the test on leaving, but for a client that went away.
    """
    server = Server(scheme="http" if context is None else "https")
    stage = _Stage(script, server)
    # Over TLS, a client that does not answer a goodbye would be waited for for 30 seconds.
    tls = {} if context is None else {"ssl": context, "ssl_shutdown_timeout": 1}
    listener = await asyncio.start_server(stage.accept, "127.0.0.1", port, backlog=1024, **tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        for _ in range(5):
            await asyncio.sleep(0)  # asyncio loses a socket that it accepts while closing
        listener.close()
        await stage.clear()
        await listener.wait_closed()
    if server.failures:
        raise server.failures[0]


def refusing_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Scripts


def replying(*answers: bytes) -> Script:
    """Answer each request of a connection with the next of `answers`, the last for ever."""

    async def script(peer: Peer) -> None:
        turn = 0
        while await peer.request() is not None:
            await peer.send(answers[min(turn, len(answers) - 1)])
            turn += 1

    return script


def dripping(pieces: Iterable[bytes], *, pause: float = 0.0) -> Script:
    """Answer each request with `pieces`, each in a segment of its own."""
    kept = tuple(pieces)

    async def script(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(*kept, pause=pause)

    return script


def cutting(answer: bytes, *, rst: bool = False) -> Script:
    """Answer one request with `answer` and end the connection, with FIN or RST."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        if rst:
            peer.reset()

    return script


async def hanging(peer: Peer) -> None:
    """Take a request and never answer."""
    await peer.request()
    await peer.hang()


# Bytes


def response(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    headers: Iterable[tuple[str, str]] = (("content-type", "application/json"),),
) -> bytes:
    """A response framed by its content-length."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked_head(content_type: str = "text/event-stream") -> bytes:
    """The head of a chunked response."""
    return (
        f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()


def chunk(data: bytes) -> bytes:
    """One chunk; an empty one ends the body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*pieces: bytes, content_type: str = "text/event-stream") -> bytes:
    """A whole chunked response."""
    return chunked_head(content_type) + b"".join(map(chunk, pieces)) + chunk(b"")


def self_signed(folder: Path, *, host: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """
    A certificate for `host` that vouches for itself, made with the `openssl` command.

    Returns its PEM file, for those who shall trust it, and a server's context that shows it.

    Raises:
        RuntimeError: there is no `openssl` command, and it can not be installed.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    kind = "IP" if host.replace(".", "").isdigit() else "DNS"
    subprocess.run(
        [
            *(
                command("openssl"),
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={host}",
                "-addext",
                f"subjectAltName={kind}:{host}",
            ),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
