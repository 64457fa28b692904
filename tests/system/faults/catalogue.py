"""
Which test shows which row of FAILURES.md.

A test in this folder that is named after rows (`test_09_11_dropped_...`) shows them; others are
listed in `elsewhere`. `SMALLER` says what of a row's stated size is left to `make chaos` and other
commands, `OTHERWISE` what is not as the row has it, and why. As a command it prints all of that.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from tests.system.faults.elsewhere import ALSO

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
ROWS = range(1, 93)

_NAMED = re.compile(r"test_((?:\d\d_)+)(?!\d)")

SMALLER: Mapping[int, str] = {
    59: "60 streams of 500",
    60: "2 s of 30 s, and a deadline of 250 ms instead of 50 ms",
    61: "100 requests at a latency of 3 s: on a busy machine 200 ms is no outage",
    67: "4 s of 10 min",
    69: "3,000 requests of a million; the cache of keys itself is tried with more",
    73: "one kill of 200 streams, and those of the race; more in `make prove-limits`",
    77: "objects by type over 600 requests; memory over 100,000 is in `make chaos`",
    88: "without the load; the number of look-ups is counted, not timed",
    89: "turns are counted, not timed; the 99th percentile is tried on a clock of the test's own",
}
"""By row: what is tried at another size than FAILURES.md states."""

OTHERWISE: Mapping[int, str] = {
    59: "Settlements wait in memory; the journal on disk is for rows and is opt-in (DECISIONS 17).",
    62: "Redis Cluster is not spoken: one server, or what fails over behind one address. What a "
    "node of a cluster would answer counts as an outage.",
    65: "A policy that evicts does nothing while `maxmemory` is 0, so it is not told of then.",
    66: "Redis's clock is stepped through the scripts' own argument; nothing here can set that of "
    "a process.",
    75: "A test can mount no file system of 1 MiB: the file is bounded by a limit of its process. "
    "A process that is killed for its memory is row 73's.",
    82: "Budgets are strict: there is no soft mode, so nothing is ever cut for its budget.",
    87: "There is one version: the other is this one with other scripts.",
}
"""By row: what is not as FAILURES.md has it."""


def named() -> Mapping[int, tuple[str, ...]]:
    """By row, the tests of this folder that are named after it."""
    shown: dict[int, list[str]] = {row: [] for row in ROWS}
    for file in sorted(HERE.glob("test_*.py")):
        place = str(file.relative_to(ROOT / "tests").with_suffix(""))
        for test in sorted(functions_of(place)):
            if found := _NAMED.match(test):
                for row in found[1].split("_")[:-1]:
                    shown.setdefault(int(row), []).append(f"{place}::{test}")
    return {row: tuple(tests) for row, tests in shown.items()}


@lru_cache
def functions_of(place: str) -> frozenset[str]:
    """The functions of a file that are tests, in classes too."""
    file = ROOT / "tests" / f"{place}.py"
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_"
    )


def listed(row: int) -> tuple[str, ...]:
    """The tests of other names and places."""
    return tuple(f"{place}::{test}" for place, tests in ALSO.get(row, {}).items() for test in tests)


def table() -> Iterator[str]:
    """The catalogue for people, line by line."""
    for row, tests in named().items():
        yield f"{row:02}"
        yield from (f"    tests/{each.replace('::', '.py::')}" for each in (*tests, *listed(row)))
        if row in SMALLER:
            yield f"    smaller: {SMALLER[row]}"
        if row in OTHERWISE:
            yield f"    otherwise: {OTHERWISE[row]}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
