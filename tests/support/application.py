"""
The whole gateway in the test's own loop: asked in process, message by message, or over a socket.

    async with running_simulator() as sim, running(folder, sim=sim.url) as gateway:
        async with client(gateway) as http:
            await http.post("/v1/chat/completions", json=CHAT)
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Scope

from gateway.access import Key
from gateway.app import Gateway, create_app
from gateway.config import Config, parse
from gateway.registry import Registry
from gateway.settings import Settings

KEY = Key.generate(Random(1)).reveal()
"""May use every model."""
NARROW_KEY = Key.generate(Random(2)).reveal()
"""May use `chat` and `org/other:latest`."""
UNKNOWN_KEY = Key.generate(Random(3)).reveal()
"""Well formed, and nobody's."""
TOKEN = "an-operator's-token"
"""The operator's."""

CONFIG = """\
providers:
  sim: {kind: vllm, base_url: "${SIM}"}
  unset: {kind: openai, api_key: ""}
models:
  chat:
    targets: [{provider: sim, model: demo-model}]
    max_output: 64
    retries: {attempts: 1}
  org/other:latest:
    targets: [{provider: sim, model: demo-model}]
    max_output: 64
    owned_by: somebody
  "na\u00efve \\"chat\\"":
    targets: [{provider: sim, model: demo-model}]
    max_output: 64
    expose_target: true
  closed:
    targets: [{provider: sim, model: demo-model}]
    max_output: 64
  inactive:
    targets: [{provider: unset, model: gpt-4o-mini}]
    max_output: 64
tenants:
  wide: {models: ["*"], keys: [{name: ci, key: "${KEY}"}], plan: free}
  narrow: {models: [chat, org/other:latest], keys: [{name: ci, key: "${NARROW}"}], plan: free}
plans:
  free: {}
"""
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
CHAT_PATH = "/v1/chat/completions"
NOWHERE = "http://127.0.0.1:9"


def bearer(key: str = KEY) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def configured(text: str = CONFIG, *, sim: str = NOWHERE) -> Config:
    """A configuration, read with the installed providers."""
    environ = {"SIM": sim, "KEY": KEY, "NARROW": NARROW_KEY}
    return parse(text.encode(), "file.yaml", environ, Registry.load().find)


def settings(folder: Path, **changes: Any) -> Settings:
    """Settings that read nothing of this machine's."""
    fixed = {"state_dir": folder, "admin_token": TOKEN, "log_level": "warning"}
    return Settings(**{**fixed, **changes})


def built(folder: Path, text: str = CONFIG, *, sim: str = NOWHERE, **changes: Any) -> Gateway:
    """A gateway that is not started."""
    return create_app(settings(folder, **changes), configured(text, sim=sim))


@asynccontextmanager
async def running(
    folder: Path, text: str = CONFIG, *, sim: str = NOWHERE, **changes: Any
) -> AsyncIterator[Gateway]:
    """A gateway between the two ends of its lifespan."""
    gateway = await asyncio.to_thread(built, folder, text, sim=sim, **changes)
    async with started(gateway):
        yield gateway


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """The lifespan of an application, as a server runs it."""
    said: asyncio.Queue[Message] = asyncio.Queue()
    asked: asyncio.Queue[Message] = asyncio.Queue()

    async def next_said(kind: str) -> None:
        message = await said.get()
        assert message["type"] == kind, message

    with logging_kept():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_lifespan(app, asked, said))
            asked.put_nowait({"type": "lifespan.startup"})
            await next_said("lifespan.startup.complete")
            try:
                yield
            finally:
                asked.put_nowait({"type": "lifespan.shutdown"})
                await next_said("lifespan.shutdown.complete")


async def _lifespan(
    app: ASGIApp, asked: "asyncio.Queue[Message]", said: "asyncio.Queue[Message]"
) -> None:
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await app(scope, asked.get, said.put)


@contextmanager
def logging_kept() -> Iterator[None]:
    """A gateway takes all logging; give it back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


def client(app: ASGIApp, key: str | None = KEY) -> httpx.AsyncClient:
    """A client that needs no socket; it sees an answer once it is whole."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://gateway",
        headers=bearer(key) if key else {},
    )


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[str]:
    """The application behind uvicorn on a real socket, its lifespan included; yields the URL."""
    with logging_kept(), socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http="httptools", ws="none", lifespan="on", log_config=None)
        server = _Server(config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([bound]))
            await server.ready.wait()
            try:
                yield f"http://127.0.0.1:{bound.getsockname()[1]}"
            finally:
                server.should_exit = True


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass
class Exchange:
    """What an application did with one request: what it sent, and how often it read."""

    sent: list[Message] = field(default_factory=list)
    read: int = 0

    @property
    def status(self) -> int:
        (start,) = [each for each in self.sent if each["type"] == "http.response.start"]
        return int(start["status"])

    @property
    def headers(self) -> dict[str, str]:
        start = self.sent[0]
        return {name.decode(): value.decode("latin-1") for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(each["body"] for each in self.sent[1:])


async def exchanged(
    app: ASGIApp,
    *pieces: bytes | None,
    path: str = CHAT_PATH,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] | None = None,
    watched: Exchange | None = None,
) -> Exchange:
    """
    Send a request piece by piece: the last piece ends the body, None hangs up, and after the
    last one nothing more comes. `watched` is filled in while it goes on.
    """
    exchange = watched or Exchange()
    waiting = list(pieces)

    async def receive() -> Message:
        exchange.read += 1
        if not waiting:
            await asyncio.get_running_loop().create_future()
        piece = waiting.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        exchange.sent.append(message)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(raw(bearer()) if headers is None else headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "root_path": "",
    }
    with suppress(asyncio.CancelledError):
        await app(scope, receive, send)
    return exchange
