"""
What the gateway costs: µs of its process's CPU per request and per streamed chunk.

The contenders take turns, round by round, so that a machine that grows slower is slow for all of
them. A bare relay on the same server and engine is measured in the same run: what lies between
the two is the price of the gateway's features.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import report
from tests.bench.contenders import Contender, NotStarted, bare, gateway, measure, upstream
from tests.bench.gauges import resident_mb
from tests.bench.job import Measured
from tests.support.redis_server import RedisServer

GATEWAY = "lockgate"
LARGE = 32 * 1024
"""Bytes of a large prompt."""


@dataclass(frozen=True)
class Extent:
    """How much is measured. `all` adds Redis, traces and large prompts."""

    rounds: int
    warm: float
    seconds: float
    all: bool


FULL = Extent(rounds=4, warm=0.4, seconds=1.6, all=True)
QUICK = Extent(rounds=1, warm=0.3, seconds=1.0, all=False)
SMOKE = Extent(rounds=1, warm=0.1, seconds=0.2, all=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the gateway costs more than it may, or could not be measured."""
    options = _options(arguments)
    extent = SMOKE if options.smoke else QUICK if options.quick else FULL
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lockgate-bench-") as directory,
            _field(extent, Path(directory)) as (upstream_port, contenders),
        ):
            resident = {each.name: resident_mb(each.pid) for each in contenders}
            over = _measure_all(extent, upstream_port, contenders)
            print(report.starts(contenders, resident))
    except NotStarted as error:
        print(error, file=sys.stderr)
        return 1
    for line in over:
        print(f"over the bar: {line}")
    return 1 if over and not options.smoke else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="one short round, about 10 seconds")
    group.add_argument(
        "--smoke", action="store_true", help="as short as can be; no figure is too high"
    )
    return parser.parse_args(arguments)


@contextmanager
def _field(extent: Extent, directory: Path) -> Iterator[tuple[int, list[Contender]]]:
    """Everything running: the upstream's port, and the contenders."""
    with ExitStack() as stack:
        port = stack.enter_context(upstream())
        contenders = [
            stack.enter_context(bare(port, directory)),
            stack.enter_context(gateway(GATEWAY, port, directory, {})),
        ]
        for name, env in _variants(stack, port, wanted=extent.all):
            contenders.append(stack.enter_context(gateway(name, port, directory, env)))
        yield port, contenders


def _variants(
    stack: ExitStack, upstream_port: int, *, wanted: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    """The gateway with other settings."""
    if not wanted:
        return
    traces = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{upstream_port}/v1/traces",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }
    yield "lockgate, 1 % traces", traces
    if shutil.which("redis-server") is None:
        print("redis-server is missing: limits on Redis are not measured")
        return
    redis = stack.enter_context(RedisServer())
    yield "lockgate, limits on Redis", {"LOCKGATE_REDIS_URL": redis.url}


def _measure_all(extent: Extent, upstream_port: int, contenders: list[Contender]) -> list[str]:
    """Print each table as soon as it is known; what is over the bar."""
    print(f"{report.machine()}\n")
    relay, ours = contenders[:2]
    print("32 connections, 230 bytes of body, 600 of answer:")
    requests = _rounds(extent, contenders, kind="whole", connections=32)
    print(f"{report.table('request', requests)}\n")
    if extent.all:
        print(f"32 connections, {LARGE} bytes of body:")
        large = _rounds(extent, [relay, ours], kind="whole", connections=32, body_bytes=LARGE)
        print(f"{report.table('request', large)}\n")
    print("100 streams, one chunk each 10 ms:")
    chunks = _rounds(extent, [relay, ours], kind="streams", connections=100)
    print(f"{report.table('chunk', chunks)}\n")
    alone = _rounds(extent, [ours], kind="latency", connections=1, other_port=upstream_port)
    print(f"{report.latency(alone[GATEWAY])}\n")
    told = [
        report.over_the_bar("request", requests[GATEWAY]),
        report.over_the_bar("chunk", chunks[GATEWAY]),
    ]
    return [line for line in told if line is not None]


def _rounds(
    extent: Extent, contenders: Sequence[Contender], **fields: object
) -> dict[str, list[Measured]]:
    """Measure all in turn, A B A B."""
    measured: dict[str, list[Measured]] = {each.name: [] for each in contenders}
    for _ in range(extent.rounds):
        for each in contenders:
            job = each.job(warm=extent.warm, seconds=extent.seconds, **fields)
            measured[each.name].append(measure(job))
    return measured


if __name__ == "__main__":
    sys.exit(main())
