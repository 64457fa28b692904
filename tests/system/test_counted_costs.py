"""
What a request costs, in counts that no machine's pace changes.

A real gateway on real sockets, one request after the other. A figure that grows here is work that
every request does: raise its bound only with a reason, and with what `make bench` says of it.
"""

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any

import orjson
import pytest
from blockbuster import BlockBuster

import gateway
import providers
from gateway.app import Gateway
from gateway.server import Listener, bind, serve_listeners
from tests.support.application import CHAT, CHAT_PATH, KEY, built, logging_kept
from tests.support.serving import HASTE, signalled

OURS = (*gateway.__path__, *providers.__path__)
ROUNDS = 12
ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "demo-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
)
WIRE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
CONFIG = """\
providers:
  sim: {kind: vllm, base_url: "${SIM}"}
models:
  chat: {targets: [{provider: sim, model: demo-model}], max_output: 64}
plans:
  free: {requests: 100000/minute, tokens: 100000000/minute, concurrency: 100}
tenants:
  wide: {models: ["*"], keys: [{name: ci, key: "${KEY}"}], plan: free}
"""


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(reason: str | None = None, **delta: str) -> bytes:
    """One of a stream, as vLLM sends it."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    payload = told | {"model": "demo-model", "choices": [choice]}
    return b"data: " + orjson.dumps(payload) + b"\n\n"


class Canned:
    """
    An upstream in a thread of its own: one connection at a time, the same answer each time. The
    events of a stream are those that are `put` into `events`, an empty one being the last.
    """

    def __init__(self) -> None:
        self.events: SimpleQueue[bytes] = SimpleQueue()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.reads = 0
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:  # closed
                return
            with peer:
                while (came := peer.recv(65_536)).strip():
                    self.reads += 1
                    assert came.endswith(b"}"), "the request leaves in one write"
                    if b'"stream":true' in came:
                        self._stream(peer)
                    else:
                        peer.sendall(WIRE)

    def _stream(self, peer: socket.socket) -> None:
        peer.sendall(STREAM)
        while event := self.events.get():
            peer.sendall(_chunk(event))
        peer.sendall(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class Client:
    """A blocking client on one connection."""

    def __init__(self, port: int, **fields: Any) -> None:
        body = orjson.dumps(CHAT | fields)
        self._request = (
            b"POST %b HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (CHAT_PATH.encode(), KEY.encode(), len(body), body)
        )
        self._socket = socket.create_connection(("127.0.0.1", port))

    def ask(self) -> bytes:
        """The answer, as its first read brings it."""
        self._socket.sendall(self._request)
        return self.read()

    def read(self) -> bytes:
        """What comes next."""
        return self._socket.recv(65_536)

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def running(folder: Path, sim: str) -> AsyncIterator[int]:
    """The gateway on its own server; its port."""
    app: Gateway = await asyncio.to_thread(built, folder, CONFIG, sim=sim, log_level="info")
    listener = Listener(app, bind("127.0.0.1", 0))
    ready = asyncio.Event()
    with logging_kept():
        serving = asyncio.create_task(
            serve_listeners([listener], app, HASTE, bounds=app.bounds(), ready=ready.set)
        )
        await ready.wait()
        try:
            yield int(listener.url.rpartition(":")[2])
        finally:
            signalled()
            await serving


class Counted(Counter[str]):
    """Calls in this thread, while its `with` block runs."""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            code = frame.f_code
            if code.co_filename.startswith(OURS):
                self["ours"] += 1
            elif code.co_name in {"call_at", "create_task"}:
                self[code.co_name] += 1
        elif event == "c_call":
            if arg is orjson.loads or arg is orjson.dumps:
                self[arg.__name__] += 1
            elif arg is asyncio.get_running_loop:
                self["get_running_loop"] += 1

    @contextmanager
    def counting(self) -> Iterator[None]:
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


@pytest.fixture
def upstream(_the_loop_is_never_blocked: BlockBuster) -> Iterator[Canned]:
    # The last words of the server come when the log has no thread any more.
    _the_loop_is_never_blocked.functions["os.write"].can_block_in(
        "gateway/telemetry/sink.py", {"_write_all"}
    )
    canned = Canned()
    yield canned
    canned.close()


MOST_CALLS = 275
"""Of our own functions by a request, each time that a coroutine goes on among them."""
MOST_CALLS_OF_A_CHUNK = 29


async def test_a_request_is_parsed_written_and_waited_for_no_more_often_than_it_must(
    upstream: Canned, tmp_path: Path
) -> None:
    least = Counted()
    async with running(tmp_path, upstream.url) as port:
        client = await asyncio.to_thread(Client, port)
        for number in range(ROUNDS):
            one = Counted()
            with one.counting():
                answer = await asyncio.to_thread(client.ask)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"}"), "the answer leaves in one write"
            least = Counted(least & one) if number else one
        client.close()

    assert upstream.reads == ROUNDS
    assert least["loads"] == 2, "the request and its answer"
    assert least["dumps"] == 3, "what goes upstream, the row, and the line of the log"
    assert least["create_task"] == 1
    assert least["call_at"] == 0, "one timer serves the deadlines of all attempts"
    assert least["ours"] <= MOST_CALLS


async def test_an_event_of_a_stream_costs_one_parse_at_most_and_no_timer_and_no_task(
    upstream: Canned, tmp_path: Path
) -> None:
    least = Counted()
    async with running(tmp_path, upstream.url) as port:
        client = await asyncio.to_thread(Client, port, stream=True)
        upstream.events.put(event(role="assistant", content="Hel"))
        assert b"Hel" in await asyncio.to_thread(client.ask)
        for number in range(ROUNDS):
            one, told = Counted(), event(content=f"lo{number}")
            with one.counting():
                upstream.events.put(told)
                came = await asyncio.to_thread(client.read)
            assert f"lo{number}".encode() in came
            assert came.endswith(b"\n\n\r\n"), "the event leaves in one write"
            least = Counted(least & one) if number else one
        upstream.events.put(event(reason="stop"))
        upstream.events.put(b"")
        while not came.endswith(b"0\r\n\r\n"):
            came = await asyncio.to_thread(client.read)
        client.close()

    assert least["loads"] == 1
    assert least["dumps"] == least["create_task"] == least["call_at"] == 0
    assert least["ours"] <= MOST_CALLS_OF_A_CHUNK
