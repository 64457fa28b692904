import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from gateway.simulator.link import HungUp, Link
from tests.support.simulator import RunningSimulator, eventually, running_simulator

BODY = b"""
{"messages":[{"role":"user","content":"Hi"}],"stream":true,"max_tokens":1000,"ignore_eos":true}
"""
ASK = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY


@pytest.fixture
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(tokens_per_second=5) as running:
        yield running


async def connected(sim: RunningSimulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = sim.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(ASK)
    return reader, writer


async def test_a_hang_up_wakes_who_waits(sim: RunningSimulator) -> None:
    reader, writer = await connected(sim)
    await reader.readuntil(b"assistant")

    began = time.monotonic()
    writer.close()
    await eventually(lambda: sim.state()["running"] == 0)

    assert time.monotonic() - began < 0.1
    assert sim.state()["aborted"] == 1


async def test_a_reset_reaches_the_client_as_one(sim: RunningSimulator) -> None:
    sim.faults({"kind": "reset", "after": 1})
    reader, writer = await connected(sim)

    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_cut_ends_in_order_but_inside_the_chunked_body(sim: RunningSimulator) -> None:
    sim.faults({"kind": "cut", "after": 1, "mid_event": True})
    reader, writer = await connected(sim)

    answer = await reader.read()
    writer.close()

    assert b"assistant" in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_one_connection_serves_one_request_after_another(sim: RunningSimulator) -> None:
    host, port = sim.url.removeprefix("http://").split(":")
    with socket.socket() as plug:
        plug.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plug, (host, int(port)))
        for _ in range(3):
            await loop.sock_sendall(plug, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await loop.sock_recv(plug, 1000)).startswith(b"HTTP/1.1 200")


async def test_nobody_waits_on_a_connection_that_is_gone() -> None:
    link = Link(asyncio.Transport(), asyncio.get_running_loop())
    link.lost()

    with pytest.raises(HungUp):
        await link.pause(60)


async def test_a_pause_that_nobody_ends_takes_its_time() -> None:
    link = Link(asyncio.Transport(), asyncio.get_running_loop())

    began = time.monotonic()
    await link.pause(0.02)

    assert time.monotonic() - began >= 0.019
