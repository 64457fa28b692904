"""Row 41, over real sockets: only the kernel knows who is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send

from gateway.pipeline import ON_HANG_UP
from gateway.server.half_close import COMMENT, INTERIM
from tests.support.serving import App, serving, soon

ASKED = b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n"


class Answering(App):
    """`/whole` and `/stream` answer when they are told to, and notice who leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] == "/":
            await super().__call__(scope, receive, send)
            return
        await receive()
        tell: Callable[..., None] = scope["state"][ON_HANG_UP]
        tell(self._gone)
        is_stream = scope["path"] == "/stream"
        if is_stream:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first\n\n", "more_body": True})
        self.holding += 1
        await self.release.wait()
        tell(None)
        if self.left.is_set():
            return
        if not is_stream:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"last\n\n"})

    def _gone(self) -> None:
        self.left.set()
        self.release.set()


@asynccontextmanager
async def asked(path: bytes, version: bytes = b"1.1") -> AsyncIterator[tuple[Answering, "Client"]]:
    app = Answering()
    async with serving(app) as running:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(running.urls[0].rpartition(":")[2])
        )
        writer.write((ASKED % path).replace(b"HTTP/1.1", b"HTTP/" + version))
        await soon(lambda: app.holding == 1)
        try:
            yield app, Client(reader, writer)
        finally:
            writer.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer


@pytest.mark.parametrize("path", [b"/whole", b"/stream"])
async def test_a_client_that_has_only_finished_speaking_is_answered(path: bytes) -> None:
    async with asked(path) as (app, client):
        client.writer.write_eof()
        await asyncio.sleep(0.1)  # as long as it takes to look a few times
        assert not app.left.is_set()
        app.release.set()
        answer = await client.reader.read()

    assert answer.endswith(b"6\r\nlast\n\n\r\n0\r\n\r\n")
    if path == b"/whole":
        assert answer.startswith(INTERIM + b"HTTP/1.1 200 OK\r\n")
    else:
        assert answer.count(COMMENT) == 1


@pytest.mark.parametrize(
    ("path", "body"), [(b"/whole", b"last\n\n"), (b"/stream", b"first\n\nlast\n\n")]
)
async def test_one_that_knows_neither_chunks_nor_interims_is_sent_none(
    path: bytes, body: bytes
) -> None:
    async with asked(path, b"1.0") as (app, client):
        client.writer.write_eof()
        await asyncio.sleep(0.1)
        app.release.set()
        answer = await client.reader.read()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("path", [b"/whole", b"/stream"])
async def test_a_client_that_has_left_is_noticed_without_an_answer(path: bytes) -> None:
    async with asked(path) as (app, client):
        if path == b"/stream":
            await client.reader.readuntil(b"first\n\n\r\n")
        client.writer.close()
        await client.writer.wait_closed()

        await soon(app.left.is_set)


async def test_half_a_body_and_no_more_is_a_client_that_has_left() -> None:
    async with serving() as running:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(running.urls[0].rpartition(":")[2])
        )
        writer.write(b"POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        await soon(lambda: running.apps[0].holding == 1)
        writer.write_eof()

        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_has_finished_and_asks_nothing_is_let_go() -> None:
    async with serving() as running:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(running.urls[0].rpartition(":")[2])
        )
        writer.write(ASKED % b"/")
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()

        assert await reader.read() == b""
        writer.close()
