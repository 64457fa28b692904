"""
A long storm: requests in any weather, callers who leave, and then what must hold.

It prints its seed, so that a storm can be had again, and fails where something does not hold.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from tests.chaos import storm, verdict

SHOWN = 20
"""Faults that are told at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Have it, and judge; 1 where something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tight = max(1, options.requests // 50)
        with storm.scene(Path(folder), tight=tight) as scene:
            report = storm.run(
                scene, options.requests, options.seed, lambda line: print(f"  {line}", flush=True)
            )
    print(*verdict.figures(report), sep="\n")
    found = list(islice(verdict.faults(report), SHOWN))
    for fault in found:
        print(f"  does not hold: {fault}")
    print("something does not hold" if found else "everything holds")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
