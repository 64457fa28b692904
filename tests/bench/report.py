"""The figures as a table: medians, their spread, and what machine they are of."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.bench.contenders import Contender
from tests.bench.gauges import resident_mb
from tests.bench.job import Measured

BARS = {"request": 300.0, "chunk": 60.0}
"""µs of CPU that the gateway may take for each, with limits in process."""

_LIBRARIES = ("uvicorn", "uvloop", "httptools", "httpx", "pydantic", "orjson", "redis", "hiredis")

Rounds = Mapping[str, Sequence[Measured]]
"""By contender, one measurement a round."""


def machine() -> str:
    """What the figures depend on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}\n{libraries}\n"
        f"load average before: {os.getloadavg()[0]:.1f} (the figures grow with what else runs)"
    )


def table(unit: str, rounds: Rounds) -> str:
    """µs of CPU per `unit`, for each contender, beside the first."""
    lines = [f"{f'µs of CPU per {unit}':<30}{'median':>8}{'min':>8}{'max':>8}{'×':>7}{'per s':>9}"]
    first: float | None = None
    for name, measured in rounds.items():
        micros = [each.micros for each in measured]
        middle = median(micros)
        first = first or middle
        rate = median(each.rate for each in measured)
        lines.append(
            f"  {name:<28}{middle:>8.1f}{min(micros):>8.1f}{max(micros):>8.1f}"
            f"{middle / first:>7.2f}{rate:>9.0f}"
        )
    return "\n".join(lines)


def latency(measured: Sequence[Measured]) -> str:
    """What one request takes longer than without the gateway."""
    middle = median(each.median_ms for each in measured)
    last = median(each.p99_ms for each in measured)
    return f"ms added at 1 connection        median {middle:.2f}, p99 {last:.2f}"


def starts(contenders: Iterable[Contender], resident: Mapping[str, float]) -> str:
    """What a process costs before it does anything."""
    lines = [f"{'start':<30}{'s':>8}{'MB':>8}{'MB, end':>9}"]
    lines += [
        f"  {each.name:<28}{each.start_seconds:>8.2f}{resident[each.name]:>8.0f}"
        f"{resident_mb(each.pid):>9.0f}"
        for each in contenders
    ]
    return "\n".join(lines)


def over_the_bar(unit: str, measured: Sequence[Measured]) -> str | None:
    """The line that says so, None where the figure is within its bar."""
    middle = median(each.micros for each in measured)
    if middle <= BARS[unit]:
        return None
    return f"{middle:.0f} µs per {unit} is more than {BARS[unit]:.0f} µs"
