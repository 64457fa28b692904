"""The scenarios of the benchmark: that they run and tell figures. What they are is for `make`."""

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

    assert "20 events, 0 missing" in told
    assert "late        median" in told
    assert "KB of memory" in told
