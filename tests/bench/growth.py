"""
Whether a request costs the same however much there is: tenants, models, targets, requests so far.

Each extent is a gateway of its own beside a small one. They take turns, round by round, with
requests that go through all keys and all models; what counts is the ratio within a round.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.bench import report
from tests.bench.contenders import NotStarted, upstream
from tests.bench.gauges import resident_mb
from tests.bench.grown import Extent, grown

RATIO = 1.1
"""What a request may cost, as a multiple of what it costs the small gateway."""
LARGER = 1.1
"""What memory may be at the end of a long run, as a multiple of what it was after a tenth."""
ROUNDS = 5
SLICES = 10
"""Of a long run."""

SMALL = Extent("one of each")
MUCH = (
    SMALL,
    Extent("10,000 tenants", tenants=10_000),
    Extent("1,000 models", models=1_000),
    Extent("100 targets in order", targets=100),
    Extent("100 targets by weight", targets=100, strategy="weighted"),
)
SOME = (SMALL, Extent("some", tenants=100, models=10, targets=10, strategy="weighted"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a request costs more than it may, or could not be measured."""
    options = _options(arguments)
    print(f"{report.machine()}\n")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lockgate-bench-") as directory,
            upstream() as port,
        ):
            over = _beside(SOME if options.smoke else MUCH, port, Path(directory), options.requests)
            over += _long(port, Path(directory), options.long)
    except (NotStarted, ConnectionError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for line in over:
        print(f"over the bar: {line}")
    return 1 if over and not options.smoke else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="of each gateway in each round")
    parser.add_argument("--long", type=int, default=300_000, help="requests of the long run")
    parser.add_argument(
        "--smoke", action="store_true", help="less of everything, and no figure is too high"
    )
    return parser.parse_args(arguments)


def _beside(extents: Sequence[Extent], port: int, directory: Path, count: int) -> list[str]:
    """Gateways of all extents in turn; what is over the bar."""
    micros: dict[str, list[float]] = {each.name: [] for each in extents}
    with ExitStack() as stack:
        all_grown = [stack.enter_context(grown(each, port, directory)) for each in extents]
        for each, extent in zip(all_grown, extents, strict=True):
            each.micros(max(count, extent.tenants))  # whatever is met for the first time
        for _ in range(ROUNDS):
            for each in all_grown:
                micros[each.contender.name].append(each.micros(count))
    print(f"{'µs of CPU per request':<30}{'median':>8}{'×':>7}")
    small, over = micros[SMALL.name], []
    for name, mine in micros.items():
        ratio = median(one / other for one, other in zip(mine, small, strict=True))
        print(f"  {name:<28}{median(mine):>8.1f}{ratio:>7.2f}")
        if ratio > RATIO:
            over.append(f"with {name} a request costs {ratio:.2f} × as much")
    return over


def _long(port: int, directory: Path, count: int) -> list[str]:
    """One gateway for so many requests; what is over the bar."""
    print(f"\n{'requests so far':<20}{'µs of CPU each':>16}{'MB':>8}")
    micros, resident = [], []
    with grown(Extent("a long run"), port, directory) as one:
        for number in range(1, SLICES + 1):
            micros.append(one.micros(count // SLICES))
            resident.append(resident_mb(one.contender.pid))
            print(f"  {number * count // SLICES:<18}{micros[-1]:>16.1f}{resident[-1]:>8.1f}")
    dearer, larger = median(micros[-3:]) / median(micros[:3]), resident[-1] / resident[0]
    over = []
    if dearer > RATIO:
        over.append(f"after {count} requests one costs {dearer:.2f} × as much")
    if larger > LARGER:
        over.append(f"after {count} requests memory is {larger:.2f} × as large")
    return over


if __name__ == "__main__":
    sys.exit(main())
