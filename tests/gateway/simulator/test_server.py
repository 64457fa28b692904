import asyncio
import signal
import socket
import sys
import time

import httpx
import pytest

from gateway.simulator import SimulatorSettings, listening

SERVE = """
from gateway.simulator import SimulatorSettings, run
run(SimulatorSettings(port=0, tokens_per_second=1))
"""
ASK = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}


async def test_a_process_says_where_it_listens_and_stops_at_once_with_a_stream_under_way() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    prefix, _, url = line.strip().rpartition(" ")
    assert prefix == "simulator listening on"

    async with (
        httpx.AsyncClient(base_url=url) as client,
        client.stream("POST", "/v1/chat/completions", json=ASK) as answer,
    ):
        await anext(answer.aiter_raw())
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, errors = await process.communicate()

    assert time.monotonic() - began < 2
    assert (process.returncode, out, errors) == (0, b"", b"")


async def test_leaving_the_block_cuts_every_connection_and_frees_the_port() -> None:
    async with listening(SimulatorSettings(port=0, tokens_per_second=1)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        idle = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9")
        await asyncio.sleep(0.01)

    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, int(port)))
    for stream in (reader, idle[0]):
        try:
            assert await stream.read() == b""
        except ConnectionResetError:
            continue
    for each in (writer, idle[1]):
        each.close()


async def test_a_port_in_use_is_an_error() -> None:
    async with listening(SimulatorSettings(port=0)) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError):  # noqa: PT011 - the system words it
            async with listening(SimulatorSettings(port=port)):
                pass
