"""`upstream.transport: httpx` speaks HTTP/2 with whoever does, and then shares one connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from gateway.contract.errors import ProviderDisconnected, ProviderError, ProviderGarbled
from gateway.contract.provider import UpstreamRequest
from gateway.upstream import Upstream, UpstreamSettings, over_httpx
from tests.support import faulty

Chat = Callable[..., UpstreamRequest]


class Answering(asyncio.Protocol):
    """
    A server: each request's body comes back, when `gate` is open. It resets the streams of those
    that say `reset`, and ends the connection for those that say `end`.
    """

    def __init__(self, gate: asyncio.Event, seen: list[dict[str, str]]) -> None:
        self._gate = gate
        self._seen = seen
        self._state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._bodies: dict[int, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wire: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = transport
        self._state.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._state.receive_data(data):
            match event:
                case h2.events.RequestReceived(stream_id=number, headers=headers):
                    self._seen.append({n.decode(): v.decode() for n, v in headers})
                    self._bodies[number] = b""
                case h2.events.DataReceived(stream_id=number, data=piece):
                    self._bodies[number] += piece
                case h2.events.StreamEnded(stream_id=number):
                    task = asyncio.get_running_loop().create_task(self._answer(number))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        self._flush()

    async def _answer(self, number: int) -> None:
        await self._gate.wait()
        body = self._bodies[number]
        if body == b"end":
            self._wire.abort()
            return
        with suppress(h2.exceptions.ProtocolError):  # whoever asked has gone
            if body == b"reset":
                self._state.reset_stream(number)
            else:
                self._state.send_headers(number, [(":status", "200"), ("content-type", "x")])
                self._state.send_data(number, body, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        self._wire.write(self._state.data_to_send())


class Spoken:
    """What a server has seen, and the way to it."""

    def __init__(self, settings: UpstreamSettings, upstream: Upstream) -> None:
        self.settings = settings
        self.upstream = upstream
        self.origin = ""
        self.gate = asyncio.Event()
        self.connections = 0
        self.seen: list[dict[str, str]] = []

    async def until_seen(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(5):
            while len(self.seen) < count:  # noqa: ASYNC110 - no event for every count
                await asyncio.sleep(0.001)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Spoken]:
    ca_file, context = faulty.self_signed(tmp_path)
    context.set_alpn_protocols(["h2"])
    settings = UpstreamSettings(transport="httpx", ca_file=ca_file)
    engine = over_httpx.opened(settings)
    spoken = Spoken(settings, Upstream(engine, settings))

    def accept() -> Answering:
        spoken.connections += 1
        return Answering(spoken.gate, spoken.seen)

    async with listening(accept, context) as port:
        spoken.origin = f"https://127.0.0.1:{port}"
        yield spoken
        assert engine.open == 0
        await spoken.upstream.aclose()


@asynccontextmanager
async def listening(
    accept: Callable[[], asyncio.Protocol], context: ssl.SSLContext
) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(accept, "127.0.0.1", 0, ssl=context)
    yield listener.sockets[0].getsockname()[1]
    listener.close()


async def ask(server: Spoken, request: UpstreamRequest) -> bytes:
    async with server.upstream.send(request, public=False) as answer:
        return await answer.read(1000)


async def test_many_requests_share_one_connection_and_each_gets_its_own_answer(
    server: Spoken, chat: Chat
):
    server.gate.set()
    assert await ask(server, chat(server.origin, b"first")) == b"first"
    server.gate.clear()
    said = [b"number %d" % number for number in range(20)]
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(server, chat(server.origin, each))) for each in said]
        await server.until_seen(21)
        server.gate.set()
    assert [task.result() for task in asking] == said
    assert server.connections == 1
    assert server.seen[0][":authority"] == server.origin.removeprefix("https://")
    assert server.seen[0]["content-length"] == "5"
    assert server.seen[0]["accept-encoding"] == "identity"


async def test_one_that_is_cancelled_or_reset_costs_the_others_nothing(server: Spoken, chat: Chat):
    server.gate.set()
    assert await ask(server, chat(server.origin, b"first")) == b"first"
    server.gate.clear()
    loop = asyncio.get_running_loop()
    others = [loop.create_task(ask(server, chat(server.origin, b"x"))) for _ in range(5)]
    reset = loop.create_task(ask(server, chat(server.origin, b"reset")))
    cancelled = loop.create_task(ask(server, chat(server.origin, b"y")))
    await server.until_seen(8)
    cancelled.cancel()
    server.gate.set()
    with pytest.raises(ProviderGarbled):
        await reset
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert [await each for each in others] == [b"x"] * 5
    assert await ask(server, chat(server.origin, b"more")) == b"more"


async def test_what_may_have_been_heard_by_others_is_not_sent_again(server: Spoken, chat: Chat):
    server.gate.set()
    assert await ask(server, chat(server.origin, b"first")) == b"first"
    with pytest.raises((ProviderDisconnected, ProviderGarbled)):
        await ask(server, chat(server.origin, b"end"))
    assert len(server.seen) == 2
    assert await ask(server, chat(server.origin, b"again")) == b"again"
    assert server.connections == 2


async def test_without_its_package_it_speaks_http_1(
    server: Spoken, chat: Chat, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(over_httpx, "find_spec", lambda name: None)
    upstream = Upstream(over_httpx.opened(server.settings), server.settings)
    with pytest.raises(ProviderError):
        async with upstream.send(chat(server.origin, b"first"), public=False):
            pytest.fail("it was understood")
    assert server.seen == []
    await upstream.aclose()
