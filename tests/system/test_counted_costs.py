"""
What a request costs, in counts that no machine's pace changes.

A real gateway on real sockets, one request after the other. A figure that grows here is work that
every request does: raise its bound only with a reason, and with what `make bench` says of it.
"""

import asyncio
import re
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
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


class Canned:
    """An upstream in a thread of its own: one connection at a time, the same answer each time."""

    def __init__(self) -> None:
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
                    peer.sendall(WIRE)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class Client:
    """A blocking client on one connection."""

    def __init__(self, port: int) -> None:
        body = orjson.dumps(CHAT)
        self._request = (
            b"POST %b HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (CHAT_PATH.encode(), KEY.encode(), len(body), body)
        )
        self._socket = socket.create_connection(("127.0.0.1", port))

    def ask(self) -> bytes:
        """The answer, as its first read brings it."""
        self._socket.sendall(self._request)
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
async def counted(tmp_path: Path, _the_loop_is_never_blocked: BlockBuster) -> Counted:
    """The least that any of some requests took: what is done now and then is not theirs."""
    # The last words of the server come when the log has no thread any more.
    _the_loop_is_never_blocked.functions["os.write"].can_block_in(
        "gateway/telemetry/sink.py", {"_write_all"}
    )
    upstream = Canned()
    least = Counted()
    try:
        async with running(tmp_path, upstream.url) as port:
            client = await asyncio.to_thread(Client, port)
            for number in range(ROUNDS):
                one = Counted()
                with one.counting():
                    answer = await asyncio.to_thread(client.ask)
                assert re.match(rb"HTTP/1.1 200 OK\r\n", answer)
                assert answer.endswith(b"}"), "the answer leaves in one write"
                least = one if not number else Counted(least & one)
            client.close()
        assert upstream.reads == ROUNDS
    finally:
        upstream.close()
    return least


MOST_CALLS = 380
"""Of our own functions, each time that a coroutine goes on among them."""


async def test_a_request_is_parsed_written_and_waited_for_no_more_often_than_it_must(
    counted: Counted,
) -> None:
    assert counted["loads"] == 2, "the request and its answer"
    assert counted["dumps"] == 3, "what goes upstream, the row, and the line of the log"
    assert counted["create_task"] == 1
    assert counted["call_at"] == 1, "the deadline of the attempt"
    assert counted["ours"] <= MOST_CALLS
