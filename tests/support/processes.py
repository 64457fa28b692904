"""The real commands as processes, on free ports, stopped by whoever started them."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_URL = re.compile(r"http://[\w.\[\]:]+:\d+")


@dataclass
class Process:
    """A running command that has said where it listens."""

    process: "subprocess.Popen[str]"
    url: str
    started: list[str] = field(default_factory=list)
    """The lines up to and with the one that told the address."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As if the machine had lost it."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout: float = 15) -> tuple[int, str]:
        """SIGTERM; the exit code and what else it had printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, output


@contextmanager
def running(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT, patience: float = 30
) -> Iterator[Process]:
    """`python -m gateway …`, once it has printed its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **(env or {})},
    )
    try:
        yield _ready(process, patience)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def _ready(process: "subprocess.Popen[str]", patience: float) -> Process:
    assert process.stdout is not None
    lines: list[str] = []
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 0.1)[0]:
            continue
        line = process.stdout.readline()
        if not line:
            break
        lines.append(line)
        if found := _URL.search(line):
            return Process(process, found.group(), lines)
    raise AssertionError(f"it did not start:\n{''.join(lines)}")


def run(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """`python -m gateway …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    )
