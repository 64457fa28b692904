"""
How many instructions the gateway's process takes for a request and for a streamed chunk.

They are counted by valgrind's callgrind, in user mode: a figure that is nearly the same on every
machine, however busy, where a change of one per cent shows. Needs a minute for each of the two to
start.
"""

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from gateway.access import Key
from tests.bench.contenders import (
    PUBLIC_MODEL,
    Contender,
    NotStarted,
    configuration,
    foreign,
    free_port,
)
from tests.bench.job import Job
from tests.bench.load import request_bytes
from tests.bench.upstream import upstream
from tests.support.debian import command

PATIENCE = 600.0
"""Seconds that a process may take to start under callgrind."""
WARM = 100
"""Requests before any is counted."""
REQUESTS = 400
EVENTS = (50, 250)
"""Of two streams; a chunk is what one of them costs more than the other, for each event."""
INTERVAL = 0.05
"""Seconds between two events: long enough for each to be handled by itself, slow as it is here."""


def main() -> int:
    """Count and print; 1 if it could not be done."""
    try:
        command("valgrind")
        with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as directory:
            _count_both(Path(directory))
    except (RuntimeError, NotStarted) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _count_both(directory: Path) -> None:
    print(f"{'thousands of instructions':<30}{'a request':>12}{'a chunk':>12}", flush=True)
    with upstream(INTERVAL) as port:
        for started in (_bare(port, directory), _gateway(port, directory)):
            with started as contender:
                counted = Counted(contender, directory)
                counted.requests(WARM)
                request = counted.requests(REQUESTS) / REQUESTS
                few, many = (counted.stream(events) for events in EVENTS)
                chunk = (many - few) / (EVENTS[1] - EVENTS[0])
            print(f"  {contender.name:<28}{request / 1e3:>12.1f}{chunk / 1e3:>12.1f}", flush=True)


def _bare(upstream_port: int, directory: Path) -> AbstractContextManager[Contender]:
    port = free_port()
    arguments = ["tests.bench.bare", f"http://127.0.0.1:{upstream_port}", str(port)]
    return _under_callgrind("bare relay", arguments, port, directory, key="")


def _gateway(upstream_port: int, directory: Path) -> AbstractContextManager[Contender]:
    port, key = free_port(), Key.generate().reveal()
    config = directory / "gateway.yaml"
    config.write_text(configuration(upstream_port, key))
    arguments = ["gateway", "serve", "--config", str(config), "--port", str(port)]
    return _under_callgrind("lockgate", arguments, port, directory, key=key)


def _under_callgrind(
    name: str, module: Sequence[str], port: int, directory: Path, *, key: str
) -> AbstractContextManager[Contender]:
    # Neither the order in a set nor where the state lies may differ from run to run.
    settings = ["PYTHONHASHSEED=0", f"LOCKGATE_STATE_DIR={directory / 'state'}"]
    callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/counts.%p"]
    whole = ["env", *settings, *callgrind, sys.executable, "-m", *module]
    return foreign(name, whole, port, directory, key=key, patience=PATIENCE)


class Counted:
    """A contender under callgrind, and a client of one connection."""

    def __init__(self, contender: Contender, directory: Path) -> None:
        self._contender = contender
        self._directory = directory
        self._connection = socket.create_connection(("127.0.0.1", contender.port), PATIENCE)

    def requests(self, number: int) -> int:
        """Instructions for so many requests."""
        request = request_bytes(self._job("whole"), port=self._contender.port)
        self._instructions()
        for _ in range(number):
            self._ask(request, until=b'"kv_transfer_params":null}')
        return self._instructions()

    def stream(self, events: int) -> int:
        """Instructions for a stream of so many events."""
        job = self._job("streams", seconds=events * INTERVAL)
        request = request_bytes(job, port=self._contender.port)
        self._instructions()
        self._ask(request, until=b"\r\n0\r\n\r\n")
        return self._instructions()

    def _job(self, kind: str, seconds: float = 0.0) -> Job:
        return Job(
            kind=kind,  # type: ignore[arg-type]  # one of Job's
            port=self._contender.port,
            pid=self._contender.pid,
            key=self._contender.key,
            model=PUBLIC_MODEL,
            connections=1,
            warm=0.0,
            seconds=seconds,
            interval=INTERVAL,
        )

    def _ask(self, request: bytes, *, until: bytes) -> None:
        self._connection.sendall(request)
        answer = b""
        while not answer.endswith(until):
            more = self._connection.recv(65536)
            if not more or not (answer + more).startswith(b"HTTP/1.1 200"):
                raise NotStarted(f"{self._contender.name} answered {answer + more!r}")
            answer += more

    def _instructions(self) -> int:
        """Of the process since this was last asked."""
        control = [command("callgrind_control", "valgrind"), "--dump", str(self._contender.pid)]
        subprocess.run(control, check=True, capture_output=True)
        dumps = sorted(self._directory.glob(f"counts.{self._contender.pid}.*"))
        total = 0
        for dump in dumps:
            if told := re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE):
                total += int(told[1])
            dump.unlink()
        return total


if __name__ == "__main__":
    sys.exit(main())
