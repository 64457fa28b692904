"""
One target, one engine, one process: `atheris` ends the process when it is done.

Of a defect the input is left in the folder, and standard error tells the rest, as libFuzzer does.
"""

import importlib
import re
import sys
import time
import traceback
from itertools import count
from logging import CRITICAL
from pathlib import Path
from typing import Any

import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import inputs

EXECUTED = re.compile(r"stat::number_of_executed_units: +(\d+)")
"""How many inputs were tried, in what an engine says at its end."""
LONGEST = 4096
"""Bytes of an input."""
STUCK = 20
"""Seconds after which an input is a defect for taking so long."""
BATCH = 2000
"""Inputs that hypothesis makes before anyone looks at the clock."""


def main(engine: str, name: str, seconds: int, folder: Path) -> int:
    """Fuzz it; another number than 0 where a defect was found."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    if engine == "atheris":
        return _by_coverage(name, seconds, folder)
    return _by_chance(name, seconds, folder)


def _by_coverage(name: str, seconds: int, folder: Path) -> int:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["gateway", "providers", "tests.fuzz"]):
        target = importlib.import_module("tests.fuzz.targets").TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, known in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(known)
    options = (
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={STUCK}",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
    )
    atheris.Setup([sys.argv[0], str(corpus), *options], target.fuzz)
    atheris.Fuzz()  # which does not return
    return 0


def _by_chance(name: str, seconds: int, folder: Path) -> int:
    target = importlib.import_module("tests.fuzz.targets").TARGETS[name]
    tried = 0
    last = b""

    def fuzz(data: bytes) -> None:
        nonlocal tried, last
        tried, last = tried + 1, data
        target.fuzz(data)

    until = time.monotonic() + seconds
    try:
        for number in count():
            _batch(fuzz, inputs(target.seeds), number)
            if time.monotonic() > until:
                return 0
    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
        traceback.print_exc()
        (folder / "crash").write_bytes(last)
    finally:
        sys.stderr.write(f"stat::number_of_executed_units: {tried}\n")
    return 1


def _batch(fuzz: Any, made: st.SearchStrategy[bytes], number: int) -> None:
    bounds = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate, Phase.shrink],
    )
    seed(number)(bounds(given(made)(fuzz)))()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
