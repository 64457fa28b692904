"""Rows 71 and 72: a gateway that is told to stop has many streams on their way."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.system.faults.clients import PATIENCE, Front, front, request, statuses
from tests.system.test_observability import Collector, collecting
from tests.system.world import ask, chat, data, settings, until
from tests.system.world import gateway as serving

STREAMS = 60
SLOW = ("--tokens-per-second", "60", "--answer-tokens", "90")
"""A second and a half for an answer."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@asynccontextmanager
async def streaming(edge: Front) -> AsyncIterator[list["asyncio.Task[bytes]"]]:
    """As many streams as that, each of which has begun."""
    async with asyncio.TaskGroup() as tasks:
        begun = asyncio.Semaphore(0)
        streams = [tasks.create_task(_stream(edge, begun)) for _ in range(STREAMS)]
        async with asyncio.timeout(PATIENCE):
            for _ in range(STREAMS):
                await begun.acquire()
        yield streams


async def _stream(edge: Front, begun: asyncio.Semaphore) -> bytes:
    url = httpx.URL(edge.gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request(chat(stream=True)))
    heard = await reader.readuntil(b'"content"')
    begun.release()
    heard += await reader.read()
    writer.close()
    return heard


def _events(heard: bytes) -> list[str]:
    """The data of a chunked stream."""
    body = heard.partition(b"\r\n\r\n")[2]
    told = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        told += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return data(told.decode())


def _is_ready(edge: Front) -> bool:
    return ask("GET", f"{edge.gateway.url}/health/ready").status_code == 200


async def test_71_streams_on_their_way_finish_and_new_requests_are_taken_for_the_delay(
    tmp_path: Path, collector: Collector
) -> None:
    http = {"drain_delay": "3s", "drain_timeout": "60s"}
    exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with front(tmp_path, http=http, options=SLOW, **exporter) as edge:
        async with streaming(edge) as streams:
            edge.gateway.terminate()
            await asyncio.to_thread(until, lambda: not _is_ready(edge), within=0.5)
            late = await asyncio.to_thread(
                edge.said, request(chat(max_tokens=1), "connection: close")
            )
            assert statuses(late) == [200]
        assert {_events(each.result())[-1] for each in streams} == {"[DONE]"}
        assert edge.gateway.ended() == 0
        records = edge.gateway.told(STREAMS + 1)
        assert {record["outcome"] for record in records} == {"ok"}
        # What waits a minute to be sent otherwise is sent before the end.
        sent = {span.trace_id.hex() for span in collector.spans}
        assert {record["trace_id"] for record in records} <= sent


async def test_71_streams_that_outlast_the_time_to_drain_end_with_an_error(tmp_path: Path) -> None:
    with front(tmp_path, http={"drain_timeout": "200ms"}, options=SLOW) as edge:
        async with streaming(edge) as streams:
            edge.gateway.terminate()
        _are_cut(streams)
        assert edge.gateway.ended() == 0
        until(lambda: edge.simulator.state()["running"] == 0, within=PATIENCE)
        assert {each["outcome"] for each in edge.gateway.told(STREAMS)} == {"cut"}


async def test_72_a_second_signal_cuts_them_at_once(tmp_path: Path) -> None:
    http = {"drain_delay": "60s", "drain_timeout": "600s"}
    with front(tmp_path, http=http, options=SLOW) as edge:
        async with streaming(edge) as streams:
            edge.gateway.terminate()
            await asyncio.to_thread(until, lambda: not _is_ready(edge))
            edge.gateway.process.send_signal(signal.SIGINT)
            again = time.monotonic()
        _are_cut(streams)
        assert edge.gateway.ended() == 0
        assert time.monotonic() - again < PATIENCE  # and not the hundred times that are allowed
        assert {each["outcome"] for each in edge.gateway.told(STREAMS)} == {"cut"}


def _are_cut(streams: list["asyncio.Task[bytes]"]) -> None:
    for each in streams:
        events = _events(each.result())
        assert "[DONE]" not in events
        assert json.loads(events[-1])["error"]["code"] == "gateway_draining"


async def test_72_a_client_that_takes_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    event = (
        b"data: %b\n\n"
        % json.dumps(
            {"choices": [{"index": 0, "delta": {"content": "x" * 8192}}], "model": "m"}
        ).encode()
    )

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            while not writer.is_closing():
                writer.write(event)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = settings({"sim": url}, http={"drain_timeout": "600s"})
        config["models"]["chat"]["max_output"] = 1_000_000
        with serving(tmp_path, config) as process:
            edge = Front(process, None)  # type: ignore[arg-type]  # no simulator behind it
            with edge.connect(receive_buffer=4096) as client:
                client.sendall(request(chat(stream=True)))
                assert await asyncio.to_thread(client.recv, 1)
                for _ in range(2):
                    process.terminate()
                    await asyncio.sleep(0.2)
                assert await asyncio.to_thread(process.ended, PATIENCE) == 0
            assert [each["outcome"] for each in process.told(1)] == ["cut"]
