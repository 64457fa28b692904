"""
Many slow streams through one gateway: whether each event is on time, and what a stream holds.
"""

import argparse
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import sleep

from tests.bench import report
from tests.bench.contenders import Contender, NotStarted, gateway, measure, upstream
from tests.bench.gauges import resident_mb
from tests.bench.job import Measured

INTERVAL = 1.0
"""Seconds between two events of one stream."""
LATEST_MS = 50.0
"""Milliseconds that 99 of 100 events may take."""
LARGEST_KB = 60.0
"""Kilobytes (10³ bytes) of the gateway's memory that a stream may take."""
WARM = 100
"""Streams that come and go before memory is read: what is made once is there by then."""
OPENING = 500
"""Streams a second: all are open, and have had their first events, a second later."""
DESCRIPTORS = 4
"""Of a stream, in any of the processes; with room for what else is open."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where events were late or streams large, or nothing came of it."""
    options = _options(arguments)
    _allow_descriptors(options.streams * DESCRIPTORS + 200)
    more = f"upstream: {{max_connections: {options.streams + WARM}}}\n"
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lockgate-bench-") as directory,
            upstream(INTERVAL) as port,
            gateway("lockgate", port, Path(directory), {}, more=more) as contender,
        ):
            _streams(contender, WARM, seconds=2 * INTERVAL)
            before = resident_mb(contender.pid)
            measured, most = _streams(contender, options.streams, seconds=options.seconds)
    except NotStarted as error:
        print(error, file=sys.stderr)
        return 1
    each_kb = (most - before) * 1000 / options.streams
    print(
        f"{report.machine()}\n\n"
        f"{options.streams} streams, one event each {INTERVAL:.0f} s:\n"
        f"  late          median {measured.median_ms:.2f} ms, p99 {measured.p99_ms:.2f} ms\n"
        f"  each stream   {each_kb:.1f} KB of memory\n"
        f"  all of them   {100 * measured.load:.0f} % of one CPU"
    )
    over = list(_over(measured.p99_ms, each_kb))
    for line in over:
        print(f"over the bar: {line}")
    return 1 if over and not options.smoke else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.many_streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20.0, help="with all of them open")
    parser.add_argument("--smoke", action="store_true", help="no figure is too high")
    return parser.parse_args(arguments)


def _allow_descriptors(wanted: int) -> None:
    """For this process and those that it starts; as many as the system lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _streams(contender: Contender, streams: int, *, seconds: float) -> tuple[Measured, float]:
    """So many at once for so long, and the most megabytes that the gateway had meanwhile."""
    warm = streams / OPENING + INTERVAL
    job = contender.job(
        kind="streams", connections=streams, warm=warm, seconds=seconds, interval=INTERVAL
    )
    with ThreadPoolExecutor() as pool:
        measured = pool.submit(measure, job)
        most = max(_resident_until(measured, contender.pid))
    return measured.result(), most


def _resident_until(done: "Future[Measured]", pid: int) -> Iterator[float]:
    while not done.done():
        yield resident_mb(pid)
        sleep(0.1)


def _over(p99_ms: float, each_kb: float) -> Iterator[str]:
    """What is more than it may be."""
    if p99_ms > LATEST_MS:
        yield f"99 of 100 events take up to {p99_ms:.0f} ms, which may be {LATEST_MS:.0f}"
    if each_kb > LARGEST_KB:
        yield f"a stream takes {each_kb:.0f} KB, which may be {LARGEST_KB:.0f}"


if __name__ == "__main__":
    sys.exit(main())
