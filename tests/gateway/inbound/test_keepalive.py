"""A stream that has no content yet is kept alive where its model says so, and only there."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.contract.errors import NoHealthyUpstream
from gateway.inbound.keepalive import Keepalive
from gateway.inbound.relay import Relay
from tests.support.application import CHAT, CHAT_PATH, client, running
from tests.support.simulator import running_simulator

EVENTS = b"text/event-stream; charset=utf-8"


class Client:
    """What one was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.began = asyncio.Event()
        self.waited = asyncio.Event()
        """Three comments have come."""
        self.relay = Relay(self._send)

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        self.began.set()
        if self.body.count(b": keepalive\n\n") >= 3:
            self.waited.set()

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)


@pytest.fixture
def caller() -> Client:
    return Client()


async def test_nothing_is_sent_before_its_time(caller: Client) -> None:
    async with Keepalive(caller.relay, 10.0, []):
        await asyncio.sleep(0)

    assert caller.sent == []
    assert not caller.relay.started


async def test_after_its_time_the_stream_begins_and_comments_follow(caller: Client) -> None:
    async with Keepalive(caller.relay, 0.01, [(b"x-request-id", b"r")]):
        await caller.waited.wait()

    start, *rest = caller.sent
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert (b"content-type", EVENTS) in start["headers"]
    assert (b"x-request-id", b"r") in start["headers"]
    assert all(each["more_body"] for each in rest)


async def test_once_it_has_begun_a_failure_is_one_event_without_an_end_marker(
    caller: Client,
) -> None:
    async with Keepalive(caller.relay, 0.01, []):
        await caller.began.wait()

    await caller.relay.error(NoHealthyUpstream("Nobody is there."), [])

    last = caller.sent[-1]
    assert not last["more_body"]
    error = orjson.loads(last["body"].removeprefix(b"data: "))["error"]
    assert error["code"] == "no_healthy_upstream"
    assert b"[DONE]" not in caller.body
    assert len([each for each in caller.sent if each["type"] == "http.response.start"]) == 1


async def test_nothing_is_sent_any_more_once_the_block_is_left(caller: Client) -> None:
    async with Keepalive(caller.relay, 0.01, []):
        await caller.waited.wait()
    sent = len(caller.sent)

    await asyncio.sleep(0.05)

    assert len(caller.sent) == sent


# Through the whole gateway

CONFIGURED = """\
providers:
  sim: {kind: vllm, base_url: "${SIM}"}
models:
  chat:
    targets: [{provider: sim, model: demo-model}]
    max_output: 64
    retries: {attempts: 1}
    commit_after: 50ms
tenants:
  wide: {models: ["*"], keys: [{name: ci, key: "${KEY}"}], plan: free}
plans:
  free: {}
"""


async def streamed(folder: Path, *, first: float) -> str:
    """What a client hears of a stream whose first token takes so many seconds."""
    async with (
        running_simulator(answer_tokens=4, time_to_first_token=first) as sim,
        running(folder, CONFIGURED, sim=sim.url) as gateway,
        client(gateway) as http,
    ):
        answer = await http.post(CHAT_PATH, json={**CHAT, "stream": True})
        assert answer.status_code == 200
        return answer.text


async def test_a_slow_stream_is_kept_alive_and_then_whole(tmp_path: Path) -> None:
    heard = await streamed(tmp_path, first=0.4)

    assert heard.startswith(": keepalive\n\n")
    assert heard.endswith("data: [DONE]\n\n")


async def test_a_quick_stream_has_no_comment(tmp_path: Path) -> None:
    heard = await streamed(tmp_path, first=0.0)

    assert "keepalive" not in heard
    assert heard.endswith("data: [DONE]\n\n")
