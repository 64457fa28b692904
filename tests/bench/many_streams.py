"""
Many slow streams through one gateway: whether each event is on time, and what a stream holds.

The upstream and the callers are this one process. What it is late itself counts against the
gateway.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import orjson
import uvloop

from tests.bench import report
from tests.bench.contenders import PUBLIC_MODEL, Contender, NotStarted, gateway
from tests.bench.gauges import cpu_seconds, resident_mb
from tests.bench.paced import INTERVAL, Caller, Upstream

LATEST_MS = 50.0
"""Milliseconds that 99 of 100 events may take."""
LARGEST_KB = 60.0
"""Kilobytes (10³ bytes) of the gateway's memory that a stream may take."""
OPENING = 500
"""Streams that are opened a second."""
DESCRIPTORS = 4
"""Of a stream, in either process; with room for what else is open."""
WARM = 100
"""Streams that come and go before memory is read: what is made once is there by then."""
PATIENCE = 30.0
"""Seconds that streams may take longer than they should."""

Complete = Callable[[Coroutine[Any, Any, Any]], Any]
"""Waits for what it is given, and returns what came of it."""


@dataclass(frozen=True)
class Figures:
    """How late events were, and what the gateway took for so many streams."""

    late_ms: Sequence[float]
    missing: int
    per_stream_kb: float
    load: float

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 events did not exceed."""
        return quantiles(self.late_ms, n=100)[-1]

    def __str__(self) -> str:
        return (
            f"{len(self.late_ms)} events, {self.missing} missing\n"
            f"late        median {median(self.late_ms):.2f} ms, p99 {self.p99_ms:.2f} ms, "
            f"max {max(self.late_ms):.2f} ms\n"
            f"a stream    {self.per_stream_kb:.1f} KB of memory\n"
            f"all         {100 * self.load:.0f} % of one CPU"
        )

    def over(self) -> list[str]:
        """What is not as it should be."""
        told = {
            f"{self.missing} events are missing": self.missing > 0,
            f"99 of 100 events take up to {self.p99_ms:.0f} ms, more than {LATEST_MS:.0f}": (
                self.p99_ms > LATEST_MS
            ),
            f"a stream takes {self.per_stream_kb:.0f} KB, more than {LARGEST_KB:.0f}": (
                self.per_stream_kb > LARGEST_KB
            ),
        }
        return [line for line, is_so in told.items() if is_so]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where an event was late or a stream large, or nothing came of it."""
    options = _options(arguments)
    _allow_descriptors(options.streams * DESCRIPTORS + 200)
    try:
        figures = _measured(options.streams, options.seconds)
    except (NotStarted, ConnectionError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{report.machine()}\n\n{options.streams} streams, one event each {INTERVAL:.0f} s:")
    print(figures)
    over = figures.over()
    for line in over:
        print(f"over the bar: {line}")
    return 1 if over and not options.smoke else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.many_streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=20, help="with all of them open")
    parser.add_argument("--smoke", action="store_true", help="no figure is too high")
    return parser.parse_args(arguments)


def _allow_descriptors(wanted: int) -> None:
    """For this process and those that it starts; as many as the system lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _measured(streams: int, seconds: int) -> Figures:
    with (
        tempfile.TemporaryDirectory(prefix="lockgate-bench-") as directory,
        _loop() as complete,
    ):
        port = complete(_listen(backlog=streams))
        more = f"upstream: {{max_connections: {2 * streams}}}\n"
        with gateway("lockgate", port, Path(directory), {}, more=more) as contender:
            complete(_open(contender, WARM, events=1))
            return complete(_watch(contender, streams, seconds))


@contextmanager
def _loop() -> Iterator[Complete]:
    """An event loop in a thread of its own: processes are started and waited for beside it."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda task: asyncio.run_coroutine_threadsafe(task, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _listen(*, backlog: int) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=backlog)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _watch(contender: Contender, streams: int, seconds: int) -> Figures:
    """All streams at once, for so many seconds."""
    before = resident_mb(contender.pid)
    events = round(streams / OPENING + seconds / INTERVAL)
    callers = asyncio.get_running_loop().create_task(_open(contender, streams, events=events))
    await asyncio.sleep(streams / OPENING)
    began = cpu_seconds(contender.pid)
    await asyncio.sleep(seconds * 0.9)  # some have had their last event soon after
    load = (cpu_seconds(contender.pid) - began) / (seconds * 0.9)
    with_streams = resident_mb(contender.pid)
    late = [late for caller in await callers for late in caller.late_ms]
    return Figures(
        late_ms=late,
        missing=streams * events - len(late),
        per_stream_kb=(with_streams - before) * 1000 / streams,
        load=load,
    )


async def _open(contender: Contender, streams: int, *, events: int) -> list[Caller]:
    """Open them one after the other, and wait for the end of all."""
    request = _request(contender, events)
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    async with asyncio.timeout(streams / OPENING + events * INTERVAL + PATIENCE):
        began = loop.time()
        for number in range(streams):
            await asyncio.sleep(began + number / OPENING - loop.time())
            _, caller = await loop.create_connection(
                lambda: Caller(request), "127.0.0.1", contender.port
            )
            callers.append(caller)
        await asyncio.gather(*(caller.ended for caller in callers))
    for caller in callers:
        caller.close()
    return callers


def _request(contender: Contender, events: int) -> bytes:
    chat = {
        "model": PUBLIC_MODEL,
        "messages": [{"role": "user", "content": "In one sentence: what does a lock gate do?"}],
        "max_tokens": events,
        "stream": True,
    }
    body = orjson.dumps(chat)
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{contender.port}\r\n"
        f"authorization: Bearer {contender.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


if __name__ == "__main__":
    sys.exit(main())
