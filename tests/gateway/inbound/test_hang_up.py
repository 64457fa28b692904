import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest
from starlette.types import Message

from gateway.inbound.hang_up import watch
from gateway.pipeline import ON_HANG_UP, ClientHungUp, Interrupt
from tests.support.application import CHAT, CHAT_PATH, bearer, built, listening
from tests.support.simulator import eventually, running_simulator

soon = partial(eventually, within=10)
"""For what takes no time, but on a busy machine."""


class Wire:
    """Gives messages as they are put."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()

    async def receive(self) -> Message:
        return await self._messages.get()

    def put(self, kind: str) -> None:
        self._messages.put_nowait({"type": kind, "body": b"", "more_body": False})


async def test_a_client_that_hangs_up_ends_its_request() -> None:
    wire, interrupt = Wire(), Interrupt()

    with pytest.raises(ClientHungUp), interrupt, watch({}, wire.receive, interrupt):  # noqa: PT012
        wire.put("http.disconnect")
        await asyncio.sleep(5)


async def test_bytes_after_the_body_are_no_hang_up() -> None:
    wire, interrupt = Wire(), Interrupt()
    for _ in range(3):
        wire.put("http.request")

    with interrupt, watch({}, wire.receive, interrupt):
        await asyncio.sleep(0.01)

    assert interrupt.error is None


async def test_no_task_is_left_of_the_watch() -> None:
    wire, interrupt = Wire(), Interrupt()
    before = asyncio.all_tasks()

    with interrupt, watch({}, wire.receive, interrupt):
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == len(before) + 1
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_a_server_that_tells_of_hang_ups_is_asked_to_and_no_task_waits() -> None:
    told: list[Callable[[], None] | None] = []
    wire, interrupt = Wire(), Interrupt()
    scope = {"state": {ON_HANG_UP: told.append}}

    with interrupt, watch(scope, wire.receive, interrupt):
        assert len(asyncio.all_tasks()) == 1
    assert told[1:] == [None]
    assert told[0] is not None
    with pytest.raises(ClientHungUp), interrupt, watch(scope, wire.receive, interrupt):  # noqa: PT012
        assert told[2] is not None
        told[2]()
        await asyncio.sleep(5)


@pytest.mark.parametrize("stream", [True, False])
async def test_over_a_socket_a_hang_up_reaches_the_upstream_at_once(
    tmp_path: Path, stream: bool
) -> None:
    async with running_simulator(tokens_per_second=20, answer_tokens=1000) as sim:
        gateway = await asyncio.to_thread(built, tmp_path, sim=sim.url)
        async with listening(gateway) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":")[-1]))
            body = orjson.dumps({**CHAT, "stream": stream, "max_tokens": 1000})
            head = f"POST {CHAT_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
            head += f"authorization: {bearer()['authorization']}\r\n\r\n"
            writer.write(head.encode() + body)
            if stream:
                assert b"200" in await reader.readline()
            await soon(lambda: gateway.pipeline.live == 1)
            await soon(lambda: sim.state()["running"] == 1)
            writer.close()
            await soon(lambda: gateway.pipeline.live == 0)
            await soon(lambda: sim.state()["aborted"] == 1)
            await writer.wait_closed()
            assert gateway.pipeline.queues.taken() == 0


async def test_over_a_socket_events_arrive_as_they_are_written(tmp_path: Path) -> None:
    async with running_simulator(tokens_per_second=50, answer_tokens=5) as sim:
        gateway = await asyncio.to_thread(built, tmp_path, sim=sim.url)
        async with (
            listening(gateway) as url,
            httpx.AsyncClient(base_url=url, headers=bearer()) as http,
            http.stream("POST", CHAT_PATH, json={**CHAT, "stream": True}) as answer,
        ):
            pieces = [piece async for piece in answer.aiter_raw()]

    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.headers
    assert len(pieces) >= 5
