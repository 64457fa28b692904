"""The table of this gateway and its peers: that it has what can be had, and says why the rest."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.contenders import Contender
from tests.bench.environments import NotInstalled
from tests.bench.peers import __main__ as peers


@contextmanager
def _absent(upstream_port: int, directory: Path) -> Iterator[Contender]:
    raise NotInstalled("no index can be reached")
    yield


def test_a_peer_that_can_not_be_had_has_a_row_that_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    this = peers.PEERS[0]
    monkeypatch.setattr(peers, "PEERS", (this, ("absent", lambda: "1.0", _absent)))

    assert peers.main(["--markdown", "--rounds", "1", "--seconds", "0.2"]) == 0

    told = capsys.readouterr().out
    row = r"^\| this gateway \| \S+ \| \d+ \| [\d,]+ \| .* \| \d+ \| \d+\.\d \|$"
    assert re.search(row, told, re.MULTILINE), told
    assert "| absent |  | not measured: no index can be reached |" in told
