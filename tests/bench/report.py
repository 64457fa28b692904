"""The figures as tables: medians, their spread and their ratios, and what machine they are of."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.bench.contenders import Contender
from tests.bench.gauges import resident_mb
from tests.bench.job import Measured

BESIDE = ("bare relay", "rolter", "Caddy")
"""Those whom each is compared with."""

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


def ratio(rounds: Rounds, name: str, other: str) -> float | None:
    """
    How many times the CPU of another one takes, None where that was not measured.

    It is the median of what each round says: the two ran one after the other in it.
    """
    if other not in rounds:
        return None
    pairs = zip(rounds[name], rounds[other], strict=True)
    return median(one.micros / another.micros for one, another in pairs)


def table(unit: str, rounds: Rounds) -> str:
    """µs of CPU per `unit`, for each contender."""
    beside = "".join(f"{f'× {other}':>14}" for other in BESIDE)
    lines = [f"{f'µs of CPU per {unit}':<30}{'median':>8}{'min':>8}{'max':>8}{beside}{'per s':>9}"]
    for name, measured in rounds.items():
        micros = [each.micros for each in measured]
        rate = median(each.rate for each in measured)
        ratios = "".join(f"{_told(ratio(rounds, name, other)):>14}" for other in BESIDE)
        lines.append(
            f"  {name:<28}{median(micros):>8.1f}{min(micros):>8.1f}{max(micros):>8.1f}"
            f"{ratios}{rate:>9.0f}"
        )
    return "\n".join(lines)


def milliseconds(what: str, rounds: Rounds) -> str:
    """What a request takes longer, or how late a chunk is, for each contender."""
    lines = [f"{what:<30}{'median':>8}{'p99':>8}"]
    for name, measured in rounds.items():
        middle = median(each.median_ms for each in measured)
        last = median(each.p99_ms for each in measured)
        lines.append(f"  {name:<28}{middle:>8.2f}{last:>8.2f}")
    return "\n".join(lines)


def starts(contenders: Iterable[Contender], resident: Mapping[str, float]) -> str:
    """What a process costs before it does anything, and what it holds afterwards."""
    lines = [f"{'start':<30}{'s':>8}{'MB':>8}{'MB, end':>9}"]
    lines += [
        f"  {each.name:<28}{each.start_seconds:>8.2f}{resident[each.name]:>8.0f}"
        f"{resident_mb(each.pid):>9.0f}"
        for each in contenders
    ]
    return "\n".join(lines)


def _told(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
