"""
Where the time of a request goes: µs of the gateway's CPU by function, and a flame graph.

py-spy looks at the running gateway from outside, so that nothing in it is slower than usual. The
table is printed; `.bench/flames` has the graph, and the stacks for speedscope.app.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

from tests.bench.contenders import Contender, NotStarted, gateway, measure
from tests.bench.environments import FOLDER, NotInstalled, environment
from tests.bench.job import Measured
from tests.bench.upstream import upstream

KINDS = {"requests": ("whole", 32), "chunks": ("streams", 100)}
"""What is looked at: the kind of load, and how many connections."""
LOOKS = 400
"""Looks a second."""
SLACK = 3.0
"""Seconds that the load runs longer than it is looked at."""
SHOWN = 40
"""Functions in each half of the table."""

_LINE = re.compile(r":\d+\)$")
_LOOP = "run (asyncio/runners.py)"
_PLACE = re.compile(r"\((?:.*/)?(?:site-packages|python3\.\d+)/|\(" + re.escape(f"{Path.cwd()}/"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, and print; 1 if it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hot_spots", description=__doc__)
    parser.add_argument("what", nargs="?", default="requests", choices=sorted(KINDS))
    parser.add_argument("--seconds", type=int, default=12, help="of looking, for each picture")
    options = parser.parse_args(arguments)
    folder = FOLDER / "flames"
    folder.mkdir(parents=True, exist_ok=True)
    stacks, graph = folder / f"{options.what}.folded", folder / f"{options.what}.svg"
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            port = stack.enter_context(upstream())
            contender = stack.enter_context(gateway("lockgate", port, directory, {}))
            measured = _watched(contender, options.what, options.seconds, (stacks, graph))
    except (NotInstalled, NotStarted, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(stacks.read_text().splitlines(), measured.micros))
    print(f"\nflame graph: {graph}\nstacks: {stacks}")
    return 0


def _watched(
    contender: Contender, what: str, seconds: int, pictures: tuple[Path, Path]
) -> Measured:
    """What the load measured while both pictures were taken."""
    kind, connections = KINDS[what]
    spy = environment("profile") / "py-spy"
    total = 2 * seconds + SLACK
    job = contender.job(warm=1.0, seconds=total, kind=kind, connections=connections)
    measured: list[Measured] = []
    load = Thread(target=lambda: measured.append(measure(job)))
    load.start()
    for path, form in zip(pictures, ("raw", "flamegraph"), strict=True):
        look = [spy, "record", "-p", str(contender.pid), "-d", str(seconds), "-r", str(LOOKS)]
        done = subprocess.run(
            [*look, "-f", form, "-o", path], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotStarted(f"py-spy may not look at another process here:\n{done.stderr}")
    load.join()
    return measured[0]


def table(stacks: Iterable[str], micros: float) -> str:
    """
    What of `micros` was spent in each function: in itself, and with all that it called.

    A stack is a line: its functions from the outermost, `;` between them, and how often it was
    seen. Other threads than the loop's are left out: they do little, and py-spy can not tell
    whether they wait. So is what leads to the loop.
    """
    alone, within = Counter[str](), Counter[str]()
    for line in stacks:
        functions, _, seen = line.rpartition(" ")
        named = [_PLACE.sub("(", _LINE.sub(")", each)) for each in functions.split(";")]
        loop = next((at for at, each in enumerate(named) if each.endswith(_LOOP)), None)
        if loop is None:
            continue
        alone[named[-1]] += int(seen)
        for each in set(named[loop + 1 :]):
            within[each] += int(seen)
    each_look = micros / max(1, alone.total())
    lines = [f"{micros:.1f} µs of CPU, {alone.total()} looks"]
    for title, counted in (("in itself", alone), ("with what it calls", within)):
        lines.append(f"\nµs {title}")
        lines += [f"{seen * each_look:8.1f}  {name}" for name, seen in counted.most_common(SHOWN)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
