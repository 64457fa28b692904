"""Rows 40 to 43: clients that read slowly, finish early, ask ahead, or send slowly."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.support.simulator import eventually
from tests.system.faults.clients import PATIENCE, Front, error, front, head, request, rest, statuses
from tests.system.world import chat, post, settings, until
from tests.system.world import gateway as serving

READERS = 40
MIB = 1024 * 1024
EVENT = (
    b"data: %b\n\n"
    % json.dumps(
        {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "demo-model",
            "choices": [{"index": 0, "delta": {"content": "x" * 8192}, "finish_reason": None}],
        }
    ).encode()
)
SLOW_HTTP = {
    "head_timeout": "500ms",
    "body_timeout": "500ms",
    "write_timeout": "1s",
    "min_body_rate": 4096,
}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("pace"), http=SLOW_HTTP) as made:
        assert post(made.gateway).status_code == 200
        yield made


# Clients that read slowly


class Spring:
    """An upstream that pours as much as is taken from it, and keeps count."""

    def __init__(self) -> None:
        self.poured = self.open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            while not writer.is_closing():
                writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
                self.poured += len(EVENT)
                await writer.drain()
        writer.close()
        self.open -= 1


@asynccontextmanager
async def spring() -> AsyncIterator[tuple[Spring, str]]:
    told = Spring()
    server = await asyncio.start_server(told, "127.0.0.1", 0)
    async with server:
        yield told, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_40_readers_that_stop_hold_little_memory_and_are_cut(tmp_path: Path) -> None:
    async with spring() as (source, url):
        config = settings({"sim": url}, plan={"concurrency": READERS}, http=SLOW_HTTP)
        config["models"]["chat"]["max_output"] = 1_000_000
        with serving(tmp_path, config) as process, ExitStack() as clients:
            edge = Front(process, None)  # type: ignore[arg-type]  # no simulator behind it
            sockets, base = edge.sockets(), edge.memory()
            for _ in range(READERS):
                client = clients.enter_context(edge.connect(receive_buffer=4096))
                client.sendall(request(chat(stream=True)))
            await eventually(lambda: source.open == READERS, within=PATIENCE)
            await _until_still(source)
            grown = edge.memory() - base

            # Some 300 KiB each: what waits at either end, and a read between.
            assert grown < READERS * MIB / 2
            records = await asyncio.to_thread(process.told, READERS)
            assert {(each["outcome"], each["status"]) for each in records} == {("hung_up", 499)}
            await eventually(lambda: source.open == 0, within=PATIENCE)
            await asyncio.to_thread(edge.settles, sockets)
            told = process.metrics()
    assert told['lockgate_requests_in_flight{operation="chat"}'] == 0
    assert not [line for line in process.output.splitlines() if '"level":"error"' in line]


async def _until_still(source: Spring) -> None:
    """Nothing more is poured: every buffer on the way is full."""
    before = -1
    async with asyncio.timeout(PATIENCE):
        while source.poured != before:
            before = source.poured
            await asyncio.sleep(0.2)


def test_40_a_reader_that_is_slow_and_goes_on_gets_all_of_it(edge: Front) -> None:
    with edge.connect(receive_buffer=4096) as client:
        client.sendall(request(chat(stream=True, max_tokens=500), "connection: close"))
        heard = b""
        while piece := client.recv(2048):
            heard += piece
            time.sleep(0.001)

    assert heard.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


# Clients that finish early, or ask ahead


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_41_a_client_that_has_only_finished_speaking_is_answered(
    edge: Front, *, stream: bool
) -> None:
    with edge.connect() as client:
        client.sendall(request(chat(stream=stream)))
        client.shutdown(socket.SHUT_WR)
        heard = rest(client)

    assert statuses(heard)[-1] == 200
    assert heard.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}")


def test_42_a_hundred_requests_ahead_are_answered_in_order(edge: Front) -> None:
    edge.simulator.fresh()
    sent = [
        request(chat(max_tokens=1), f"x-client-request-id: number-{number}")
        for number in range(100)
    ]
    sent[50] = sent[50].replace(b"Bearer lg_", b"Bearer lx_")
    sent[-1] = sent[-1].replace(b"host:", b"connection: close\r\nhost:")
    heard = edge.said(b"".join(sent))

    assert statuses(heard) == [200] * 50 + [401] + [200] * 49
    assert [
        int(line.rpartition(b"-")[2])
        for line in heard.split(b"\r\n")
        if line.startswith(b"x-client-request-id: number-")
    ] == list(range(100))
    assert len(edge.simulator.requests()) == 99
    edge.settles(edge.sockets())


# Clients that send slowly


@pytest.mark.parametrize("begun", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx: "])
def test_43_a_head_that_does_not_end_is_not_waited_for(edge: Front, begun: bytes) -> None:
    began = time.monotonic()
    with edge.connect() as client:
        client.sendall(begun)
        for _ in range(3):  # a byte now and then; one that came too late would take the answer away
            time.sleep(0.05)
            client.sendall(begun and b"y")
        heard = rest(client)

    assert statuses(heard) == ([408] if begun else [])
    assert 0.4 < time.monotonic() - began < PATIENCE


def test_43_a_body_that_does_not_come_is_not_waited_for(edge: Front) -> None:
    with edge.connect() as client:
        client.sendall(head("content-length: 100000") + b"{")
        heard = rest(client)

    assert statuses(heard) == [408]
    assert error(heard)["code"] == "request_timeout"
    assert b"\r\nconnection: close\r\n" in heard


def test_43_slow_clients_delay_nobody(edge: Front) -> None:
    sockets = edge.sockets()
    with ExitStack() as clients:
        for number in range(200):
            client = clients.enter_context(edge.connect())
            half = b"POST /v1/chat/comp" if number % 2 else head("content-length: 9") + b"{"
            client.sendall(half)
        until(lambda: edge.sockets() >= sockets + 100, within=PATIENCE)
        for _ in range(20):
            assert post(edge.gateway, chat(max_tokens=1)).status_code == 200
        until(lambda: edge.sockets() <= sockets + 2, within=PATIENCE)
    edge.settles(sockets)
