"""Row 76: more clients than the gateway may have files open."""

import resource
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.system.faults.clients import PATIENCE, Front, error, front, rest, statuses
from tests.system.world import chat, post, until

FILES = 256
CLIENTS = 1000
LIMITED = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))\n"
"""What every Python process does at its start: as `ulimit -n` before it."""


@pytest.fixture
def _many_files() -> Iterator[None]:
    """The test itself holds more clients than most shells allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * CLIENTS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Front]:
    start = tmp_path / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(LIMITED)
    patient = {"head_timeout": "5m"}  # however long a busy machine takes to connect them all
    with front(tmp_path, http=patient, PYTHONPATH=f"{start}:{ROOT}") as made:
        assert resource.prlimit(made.gateway.pid, resource.RLIMIT_NOFILE) == (FILES, FILES)
        yield made


@pytest.mark.usefixtures("_many_files")
def test_76_a_thousand_clients_take_four_fifths_of_the_files_and_the_rest_are_told(
    edge: Front,
) -> None:
    assert post(edge.gateway, chat(max_tokens=1)).status_code == 200
    with ExitStack() as clients:
        held = [clients.enter_context(edge.connect()) for _ in range(CLIENTS)]
        until(lambda: _refused(edge) >= CLIENTS - FILES * 0.8, within=PATIENCE)
        told = Counter(_told(client) for client in held)

        assert set(told) == {"", "too_many_connections"}
        assert FILES * 0.6 < told[""] <= FILES * 0.8
        refused = edge.said()
        assert statuses(refused) == [503]
        assert b"\r\nretry-after: 1\r\n" in refused
        # Those who have a place are served as ever.
        placed = next(client for client in held if not _told(client))
        placed.settimeout(PATIENCE)
        placed.sendall(b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert statuses(rest(placed)) == [200]

    until(lambda: statuses(_asked(edge)) == [200], within=PATIENCE)
    assert post(edge.gateway, chat(max_tokens=1)).status_code == 200
    assert not [line for line in edge.gateway.output.splitlines() if '"level":"error"' in line]


def _refused(edge: Front) -> int:
    return len(edge.gateway.records("connection_refused"))


def _told(client: socket.socket) -> str:
    """The code of what it has heard so far."""
    client.settimeout(0)
    try:
        heard = client.recv(65_536, socket.MSG_PEEK)
    except BlockingIOError:
        return ""
    return str(error(heard)["code"])


def _asked(edge: Front) -> bytes:
    return edge.said(b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
