"""The short form of `make chaos`: a storm, and what holds after it."""

from pathlib import Path

import pytest

from tests.chaos import storm, verdict

REQUESTS = 1000


def test_after_a_storm_every_request_has_had_one_end_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with storm.scene(tmp_path, tight=20) as scene:
        report = storm.run(scene, REQUESTS, seed=7, say=lambda _: None)

    with capsys.disabled():
        print("", *verdict.figures(report), sep="\n")
    assert list(verdict.faults(report)) == []
    assert len(report.heard) == REQUESTS
    assert len({each.ending for each in report.heard}) >= 4
