"""
The load generator: keep-alive connections on a raw protocol, in a process of its own.

Any answer other than a complete 200 ends it with an error: a refusal is cheap, and would make a
fine figure. Takes a `Job` as JSON, prints a `Measured` as JSON.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from statistics import median, quantiles
from time import monotonic_ns, perf_counter
from typing import Any, TypeVar

import orjson
import uvloop

from tests.bench.gauges import cpu_seconds
from tests.bench.job import Job, Measured

TAIL = 0.3
"""Seconds that streams go on after the counted ones, so that none ends within them."""
PATIENCE = 10.0
"""Seconds for what is on its way to end."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SENT = re.compile(rb'"content": ?"(\d{16})"')
_SMALL = "In one sentence: what does a lock gate do? "


class NotMeasured(Exception):
    """Something else than the load was wanted was done."""


def request_bytes(job: Job, *, port: int) -> bytes:
    """The one request that is sent again and again."""
    chat: dict[str, object] = {
        "model": job.model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": _SMALL},
        ],
        "temperature": 0.7,
        "max_tokens": 64,
    }
    if job.kind == "streams":
        chat["stream"] = True
        chat["max_tokens"] = round((job.warm + job.seconds + TAIL) / job.interval)
    missing = job.body_bytes - len(orjson.dumps(chat))
    chat["messages"][1]["content"] += "x" * max(0, missing)  # type: ignore[index]  # made above
    body = orjson.dumps(chat)
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"authorization: Bearer {job.key}\r\ncontent-type: application/json\r\n"
        f"user-agent: OpenAI/Python 1.99.0\r\naccept: application/json\r\n{job.headers}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


class _Connection(asyncio.Protocol):
    """One connection, with one request on it at a time."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: Any = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail("the connection was closed")

    def ask(self) -> None:
        """Send the request once more."""
        if self.ended.done():
            self.ended = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)

    def end(self) -> None:
        """All that was to come has come."""
        if not self.ended.done():
            self.ended.set_result(None)

    def fail(self, told: str) -> None:
        """What came is not what was asked for."""
        if not self.ended.done():
            self.ended.set_exception(NotMeasured(told))


class Whole(_Connection):
    """Calls `answered` for every answer, which asks again or does not."""

    def __init__(self, request: bytes, answered: Callable[["Whole"], None]) -> None:
        super().__init__(request)
        self._answered = answered
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        waiting = self._waiting = self._waiting + data
        end = waiting.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        if not waiting.startswith(b"HTTP/1.1 200"):
            self.fail(waiting[:400].decode(errors="replace"))
        elif _is_whole(waiting, end):
            self._waiting = b""
            self._answered(self)


def _is_whole(answer: bytes, body: int) -> bool:
    """Whether an answer whose body begins at `body` is there to its end."""
    length = _LENGTH.search(answer, 0, body)
    if length is None:  # a gateway may answer in chunks what came to it in one piece
        return answer.endswith(b"\r\n0\r\n\r\n")
    return len(answer) >= body + int(length[1])


class Stream(_Connection):
    """Counts the events of one stream; how late each is, in ms, it adds to `late`."""

    def __init__(self, request: bytes, late: list[float]) -> None:
        super().__init__(request)
        self.events = 0
        self._late = late
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        if not self.events and not self._tail and not data.startswith(b"HTTP/1.1 200"):
            self.fail(data[:400].decode(errors="replace"))
            return
        now = monotonic_ns() / 1000
        self._late += [(now - int(sent)) / 1000 for sent in _SENT.findall(data)]
        self.events += data.count(b"\n\n") + (self._tail[-1:] == b"\n" == data[:1])
        self._tail = (self._tail + data)[-64:] if len(data) < 64 else data[-64:]
        if data.endswith(b"0\r\n\r\n") and self._tail.endswith(b"\r\n0\r\n\r\n"):
            if b"data: [DONE]" in self._tail:
                self.end()
            else:
                self.fail(f"the stream ended with {self._tail!r}")


async def run(job: Job) -> Measured:
    """
    Do it.

    Raises:
        NotMeasured: an answer was not a complete 200.
        TimeoutError: it took too long.
    """
    kinds = {"whole": _whole, "streams": _streams, "latency": _latency}
    async with asyncio.timeout(job.warm + job.seconds + TAIL + PATIENCE):
        return await kinds[job.kind](job)


async def _whole(job: Job) -> Measured:
    count = 0
    going = True

    def answered(connection: Whole) -> None:
        nonlocal count
        count += 1
        if going:
            connection.ask()
        else:
            connection.end()

    request = request_bytes(job, port=job.port)
    connections = [
        await _connect(job.port, partial(Whole, request, answered)) for _ in range(job.connections)
    ]
    for each in connections:
        each.ask()
    await asyncio.sleep(job.warm)
    measured = await _count(job, lambda: count)
    going = False
    await asyncio.gather(*(each.ended for each in connections))
    return measured


async def _streams(job: Job) -> Measured:
    request = request_bytes(job, port=job.port)
    late: list[float] = []
    streams = [
        await _connect(job.port, partial(Stream, request, late)) for _ in range(job.connections)
    ]
    for each in streams:
        each.ask()
    await asyncio.sleep(job.warm)
    late.clear()
    measured = await _count(job, lambda: sum(stream.events for stream in streams))
    counted = late.copy()
    await asyncio.gather(*(each.ended for each in streams))
    return replace(measured, median_ms=median(counted), p99_ms=_p99(counted))


async def _latency(job: Job) -> Measured:
    direct, through = [
        await _connect(port, partial(Whole, request_bytes(job, port=port), Whole.end))
        for port in (job.other_port, job.port)
    ]
    took: dict[Whole, list[float]] = {direct: [], through: []}
    counted = perf_counter() + job.warm
    while (now := perf_counter()) < counted + job.seconds:
        for connection, times in took.items():
            asked = perf_counter()
            connection.ask()
            await connection.ended
            if now > counted:
                times.append((perf_counter() - asked) * 1000)
    return _added(job, took[direct], took[through])


def _added(job: Job, direct: list[float], through: list[float]) -> Measured:
    return Measured(
        count=len(through),
        seconds=job.seconds,
        cpu=0.0,
        median_ms=median(through) - median(direct),
        p99_ms=_p99(through) - _p99(direct),
    )


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[-1]


async def _count(job: Job, count: Callable[[], int]) -> Measured:
    """What happens in the counted seconds."""
    began, cpu, before = perf_counter(), cpu_seconds(job.pid), count()
    await asyncio.sleep(job.seconds)
    return Measured(
        count=count() - before, seconds=perf_counter() - began, cpu=cpu_seconds(job.pid) - cpu
    )


C = TypeVar("C", bound="_Connection")


async def _connect(port: int, make: Callable[[], C]) -> C:
    _, connection = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port)
    return connection


def main(job: str) -> None:
    """Run a job that was given as JSON."""
    try:
        measured = uvloop.run(run(Job(**orjson.loads(job))))
    except (NotMeasured, TimeoutError, OSError) as error:
        sys.exit(f"load: {type(error).__name__}: {error}")
    print(orjson.dumps(asdict(measured)).decode())


if __name__ == "__main__":
    main(sys.argv[1])
