"""
This gateway and its peers before the same upstream: one table of what each costs.

They take turns, round by round. Which is fast says little of what it does for it: only this
gateway holds callers to limits and keeps a ledger here, and nginx and Caddy know nothing of models.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench import report
from tests.bench.contenders import Contender, NotStarted, gateway, measure, upstream
from tests.bench.environments import NotInstalled
from tests.bench.gauges import resident_mb
from tests.bench.job import Measured
from tests.bench.peers import servers, versions
from tests.bench.upstream import INTERVAL
from tests.bench.yardsticks import caddy, nginx, rolter

STREAMS = (100, 20, 4)
"""At once, each with a chunk every 10 ms; fewer for whoever can not keep up with more."""
KEEPS_UP = 0.9
"""Of the chunks that the upstream sends, whoever relays fewer has not kept up."""

WARM = 1.5
"""Seconds before it counts: vllm-router takes one until it begins a stream."""

Start = Callable[[int, Path], AbstractContextManager[Contender]]


@dataclass
class Row:
    """What is known of one of them. `why_not` says why there is nothing."""

    name: str
    version: str = ""
    why_not: str = ""
    contender: Contender | None = None
    resident: float = 0.0
    requests: list[Measured] = field(default_factory=list)
    chunks: Measured | None = None
    streams: int = 0

    def cells(self) -> list[str]:
        """The line of the table."""
        if self.contender is None or not self.requests:
            return [self.name, self.version, self.why_not]
        chunk = "-" if self.chunks is None else f"{self.chunks.micros:,.0f}"
        return [
            self.name,
            self.version,
            f"{median(each.micros for each in self.requests):,.0f}",
            f"{median(each.rate for each in self.requests):,.0f}",
            chunk if self.streams in (0, STREAMS[0]) else f"{chunk} ({self.streams} streams)",
            f"{self.resident:,.0f}",
            f"{self.contender.start_seconds:.1f}",
        ]


TITLES = ("", "version", "µs per request", "requests/s", "µs per chunk", "MB", "s to start")


@contextmanager
def ours(upstream_port: int, directory: Path) -> Iterator[Contender]:
    """
    This gateway: a key, three limits, the ledger, metrics and a log line for each request.

    Raises:
        NotStarted: it did not come up, or a feature is off.
    """
    with gateway("lockgate", upstream_port, directory, {}) as contender:
        yield contender


PEERS: tuple[tuple[str, Callable[[], str], Start], ...] = (
    ("this gateway", versions.ours, ours),
    ("rolter (Rust)", versions.of("yardsticks", "rolter"), rolter),
    ("Caddy (Go), a proxy", versions.of("yardsticks", "caddyserver"), caddy),
    ("nginx (C), a proxy", versions.nginx, nginx),
    ("vllm-router (Rust)", versions.of("vllm-router", "vllm-router"), servers.vllm_router),
    ("Portkey (Node)", versions.portkey, servers.portkey),
    ("LiteLLM (Python)", versions.of("litellm", "litellm"), servers.litellm),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where this gateway could not be measured."""
    options = _options(arguments)
    chosen = [each for each in PEERS if not options.only or each[0].split()[0] in options.only]
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="lockgate-bench-"))
        port = stack.enter_context(upstream())
        rows = [_started(stack, each, port, Path(directory)) for each in chosen]
        for _ in range(options.rounds):
            for row in rows:
                _measure_requests(row, options.seconds)
        for row in rows:
            _measure_chunks(row, options.seconds)
    table = _markdown(rows) if options.markdown else _aligned(rows)
    print(f"\n{report.machine()}\n\n{table}")
    return 0 if rows[0].requests else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="the table, for a page")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of them: this, rolter, …")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each in each round")
    return parser.parse_args(arguments)


def _started(
    stack: ExitStack, peer: tuple[str, Callable[[], str], Start], port: int, directory: Path
) -> Row:
    name, version, start = peer
    row = Row(name)
    try:
        row.contender = stack.enter_context(start(port, directory))
        row.version = version()
        _measure(row, "whole", connections=1, seconds=1.0)  # whatever is made once
        row.resident = resident_mb(row.contender.pid)
    except (NotInstalled, NotStarted) as error:
        _give_up(row, error)
    return row


def _measure_requests(row: Row, seconds: float) -> None:
    if row.contender is None:
        return
    try:
        row.requests.append(_measure(row, "whole", connections=32, seconds=seconds))
    except NotStarted as error:
        _give_up(row, error)


def _measure_chunks(row: Row, seconds: float) -> None:
    """Of as many streams as it keeps up with."""
    for streams in STREAMS if row.contender is not None else ():
        try:
            chunks = _measure(row, "streams", connections=streams, seconds=seconds)
        except NotStarted as error:
            print(f"{row.name}, {streams} streams: {_last_line(error)}")
            continue
        if chunks.count >= KEEPS_UP * streams * chunks.seconds / INTERVAL:
            row.chunks, row.streams = chunks, streams
            return


def _measure(row: Row, kind: str, *, connections: int, seconds: float) -> Measured:
    assert row.contender is not None
    job = row.contender.job(kind=kind, connections=connections, warm=WARM, seconds=seconds)
    return measure(job)


def _give_up(row: Row, error: Exception) -> None:
    row.contender, row.why_not = None, f"not measured: {_last_line(error)}"
    print(f"{row.name} is {row.why_not}")


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["for no reason that it told"]
    return lines[-1][:100]


def _markdown(rows: Sequence[Row]) -> str:
    lines = [list(TITLES), ["---"] * len(TITLES)]
    lines += [[*cells, *[""] * (len(TITLES) - len(cells))] for cells in map(Row.cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _aligned(rows: Sequence[Row]) -> str:
    lines = [list(TITLES), *map(Row.cells, rows)]
    return "\n".join(
        f"{cells[0]:<22}{cells[1]:<12}" + "".join(f"{each:>18}" for each in cells[2:])
        for cells in lines
    )


if __name__ == "__main__":
    sys.exit(main())
