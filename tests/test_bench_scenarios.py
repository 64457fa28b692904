"""The scenarios of the benchmark: that they run and tell figures. What they are is for `make`."""

import re
import subprocess
import sys

from tests.support.processes import ROOT


def _told(scenario: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{scenario}", "--smoke", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_many_streams_tell_how_late_events_are_and_what_a_stream_holds() -> None:
    told = _told("many_streams", "--streams", "20", "--seconds", "1")

    assert "20 streams, one event each 1 s" in told
    for figure in ("late", "each stream", "all of them"):
        assert re.search(rf"^  {figure} +.*\d", told, re.MULTILINE), told


def test_growth_tells_what_a_request_costs_beside_much_of_everything() -> None:
    told = _told("growth", "--requests", "64", "--long", "640")

    for extent in ("one of each", "some"):
        assert re.search(rf"^  {extent} +\d+\.\d +\d\.\d\d$", told, re.MULTILINE), told
    assert re.search(r"^  640 +\d+\.\d +\d+\.\d$", told, re.MULTILINE), told


def test_two_workers_tell_what_a_request_costs_and_count_exactly() -> None:
    told = _told("workers", "--requests", "100")

    assert re.search(r"^  two workers +\d+\.\d +\d\.\d\d$", told, re.MULTILINE), told
    for counter in ("sent", "by limits", "by metrics"):
        assert re.search(rf"^{counter} +501 requests, 35070 tokens$", told, re.MULTILINE), told
