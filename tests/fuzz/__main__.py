"""
Feeds the parsers that meet bytes from outside, for as long as one likes.

    python -m tests.fuzz --seconds 60 sse response

With atheris, where that is installed, inputs are led by the branches that they reach; without it
hypothesis makes them. Prints how many were tried, and of a defect the input and where it was
found; whoever mends it adds the input to the target's seeds.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.guided import EXECUTED
from tests.fuzz.targets import TARGETS

GRACE = 60
"""Seconds that an engine may take beyond those it was given."""
SHOWN = 40
"""Lines of a traceback."""

_CHATTER = ("INFO:", "WARNING:", "#", "stat::", "0x", "MS:", "Base64:", "artifact_prefix")

Crash = tuple[bytes, str]
"""An input, and what was said of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz one target after the other; 1 where a defect was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), default=_best())
    options = parser.parse_args(arguments)
    if unknown := {*options.targets} - {*TARGETS}:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    print(f"{options.engine}, {options.seconds} s for each target", flush=True)
    crashes = 0
    for name in options.targets or TARGETS:
        executed, crash = _fuzz(options.engine, name, options.seconds)
        rate = executed // options.seconds
        print(f"{name:15} {executed:9} inputs, {rate:6} a second", flush=True)
        if crash is not None:
            crashes += 1
            print(f"{crash[1]}\n  the input: {crash[0]!r}", flush=True)
    print(f"{crashes} defects" if crashes else "no defect was found")
    return 1 if crashes else 0


def _best() -> str:
    return "hypothesis" if find_spec("atheris") is None else "atheris"


def _fuzz(engine: str, name: str, seconds: int) -> tuple[int, Crash | None]:
    """One target in a process of its own, which may end as it likes: inputs, and the defect."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", engine, name, str(seconds), folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=seconds + GRACE,
        )
        told = done.stdout.decode(errors="replace")
        executed = sum(map(int, EXECUTED.findall(told)))
        found = [path.read_bytes() for path in Path(folder).iterdir() if path.is_file()]
    if done.returncode == 0:
        return executed, None
    lines = [line for line in told.splitlines() if not line.startswith(_CHATTER)]
    return executed, (found[0] if found else b"", "\n".join(lines[-SHOWN:]))


if __name__ == "__main__":
    sys.exit(main())
