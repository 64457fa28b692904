"""
What the gateway costs: µs of its process's CPU per request and per streamed chunk.

The contenders take turns, round by round, so that a machine that grows slower is slow for all of
them. Yardsticks are measured in the same run: a gateway in Rust, two proxies, and a bare relay on
the gateway's own server and engine, beside which everything else is the price of features.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import report
from tests.bench.bars import ON_REDIS, OURS, Figures, bars
from tests.bench.contenders import Contender, NotStarted, bare, gateway, measure
from tests.bench.environments import NotInstalled
from tests.bench.gauges import resident_mb
from tests.bench.job import Measured
from tests.bench.upstream import upstream
from tests.bench.yardsticks import YARDSTICKS, versions
from tests.support.redis_server import RedisServer

LARGE = 32 * 1024
"""Bytes of a large prompt."""
WITHOUT_TRACES = "lockgate, no traces"


@dataclass(frozen=True)
class Extent:
    """How much is measured. `all` adds the yardsticks, Redis, and large prompts."""

    rounds: int
    warm: float
    seconds: float
    all: bool


FULL = Extent(rounds=5, warm=0.4, seconds=1.6, all=True)
QUICK = Extent(rounds=1, warm=0.3, seconds=1.0, all=False)
SMOKE = Extent(rounds=1, warm=0.1, seconds=0.2, all=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the gateway costs more than it may, or could not be measured."""
    options = _options(arguments)
    extent = SMOKE if options.smoke else QUICK if options.quick else FULL
    print(f"{report.machine()}\n", flush=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lockgate-bench-") as directory,
            _field(extent, Path(directory)) as (upstream_port, contenders),
        ):
            figures = _measure_all(extent, upstream_port, contenders)
    except (NotStarted, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    judged = list(bars(figures))
    print("\n".join(str(bar) for bar in judged))
    return 1 if any(bar.is_missed for bar in judged) and not options.smoke else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--quick", action="store_true", help="one short round without yardsticks, 10 seconds"
    )
    group.add_argument(
        "--smoke", action="store_true", help="as short as can be; no figure is too high"
    )
    return parser.parse_args(arguments)


@contextmanager
def _field(extent: Extent, directory: Path) -> Iterator[tuple[int, list[Contender]]]:
    """Everything running: the upstream's port, and the contenders."""
    with ExitStack() as stack:
        port = stack.enter_context(upstream())
        contenders = list(_yardsticks(stack, port, directory)) if extent.all else []
        contenders.append(stack.enter_context(bare(port, directory)))
        for name, env in _variants(stack, port, all_of_them=extent.all):
            contenders.append(stack.enter_context(gateway(name, port, directory, env)))
        yield port, contenders


def _yardsticks(stack: ExitStack, port: int, directory: Path) -> Iterator[Contender]:
    for yardstick in YARDSTICKS:
        try:
            yield stack.enter_context(yardstick(port, directory))
        except (NotInstalled, NotStarted) as error:
            print(f"{yardstick.__name__} is not measured: {error}")


def _variants(
    stack: ExitStack, upstream_port: int, *, all_of_them: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    """The gateway with everything on, and with other settings."""
    traces = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{upstream_port}/v1/traces",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }
    if all_of_them:
        yield WITHOUT_TRACES, {}
    yield OURS, traces
    if all_of_them:
        try:
            redis = stack.enter_context(RedisServer())
        except RuntimeError as error:
            print(f"Redis is not measured: {error}")
        else:
            yield ON_REDIS, {**traces, "LOCKGATE_REDIS_URL": redis.url}


def _measure_all(extent: Extent, upstream_port: int, contenders: list[Contender]) -> Figures:
    """Measure, and print each table as soon as it is known."""
    ours = next(each for each in contenders if each.name == OURS)
    others = [each for each in contenders if each.name not in (OURS, WITHOUT_TRACES, ON_REDIS)]
    if extent.all:
        print(f"{versions()}\n")
    resident = {each.name: resident_mb(each.pid) for each in contenders}
    print("32 connections, 230 bytes of body, 600 of answer:")
    requests = _rounds(extent, contenders, kind="whole", connections=32)
    print(f"{report.table('request', requests)}\n", flush=True)
    large: dict[str, list[Measured]] = {}
    if extent.all:
        print(f"32 connections, {LARGE} bytes of body:")
        fields = {"connections": 32, "body_bytes": LARGE}
        large = _rounds(extent, [*others, ours], kind="whole", **fields)
        print(f"{report.table('request', large)}\n", flush=True)
    print("100 streams, one chunk each 10 ms:")
    streaming = [each for each in contenders if each.name != WITHOUT_TRACES]
    chunks = _rounds(extent, streaming, kind="streams", connections=100)
    print(report.table("chunk", chunks))
    print(f"{report.milliseconds('ms that a chunk is on its way', chunks)}\n", flush=True)
    latency = _rounds(
        extent, [*others, ours], kind="latency", connections=1, other_port=upstream_port
    )
    print(f"{report.milliseconds('ms added at 1 connection', latency)}\n")
    print(f"{report.starts(contenders, resident)}\n")
    return Figures(requests, large, chunks, latency, ours.start_seconds, resident[OURS])


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
