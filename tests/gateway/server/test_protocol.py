import asyncio
from contextlib import suppress

import httpx
import pytest

from gateway.server.framing import MAX_HEAD
from tests.support.serving import serving


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.parametrize("line", [b"a: b\r\n", b"a" * 1000])
async def test_a_head_without_an_end_is_refused_and_not_kept(line: bytes) -> None:
    async with serving() as running:
        reader, writer = await _connected(running.urls[0])
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        with suppress(ConnectionError):
            for _ in range(3 * MAX_HEAD // len(line)):
                writer.write(line)
                await writer.drain()
        with suppress(ConnectionError):
            assert b" 431 " in await reader.readline()
        writer.close()
        assert running.apps[0].heard == ["lifespan.startup"]


async def test_a_body_is_no_part_of_the_head() -> None:
    async with serving() as running, httpx.AsyncClient() as http:
        for _ in range(2):
            answer = await http.post(running.urls[0], content=b"x" * 4 * MAX_HEAD)
            assert answer.status_code == 204
