"""The benchmark itself: that it runs and tells figures. What they are is for `make bench`."""

import re
import subprocess
import sys

from tests.support.processes import ROOT

_FIGURE = r" +(\d+\.\d) +\d+\.\d +\d+\.\d +\d+\.\d\d +\d+$"


def test_the_benchmark_tells_what_a_request_and_a_chunk_cost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--smoke"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for contender in ("bare relay", "lockgate"):
        figures = re.findall(rf"^  {contender}{_FIGURE}", done.stdout, re.MULTILINE)
        assert len(figures) == 2, done.stdout
        assert all(float(micros) > 0 for micros in figures)
    assert "ms added at 1 connection" in done.stdout
