"""
PyPI's `llmock`: an upstream whose faults are not our own, and which judges how its client copes.

It is a tool and no dependency: two small packages of fixed content, put into a folder of their
own the first time that they are needed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.faulty import refusing_port
from tests.support.processes import ROOT
from tests.system.world import PATIENCE, ask, until

REQUIREMENTS = Path(__file__).with_name("llmock.txt")
FOLDER = Path(sys.prefix) / "tools" / "llmock-0.2.2"
"""Where it lies; in the environment of the tests, but not on its path."""


@dataclass(frozen=True)
class Mock:
    """It, listening."""

    url: str
    process: "subprocess.Popen[bytes]"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Its process does nothing meanwhile, and has whatever it had."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def will(self, *behaviors: dict[str, Any]) -> None:
        """So the next requests are treated, one after the other."""
        url = f"{self.url}/_llmock/scenario"
        ask("POST", url, json={"behaviors": behaviors}).raise_for_status()

    def has_noticed(self) -> None:
        """
        Wait until it knows how all requests have ended: it takes for another call what begins
        before.
        """
        ask("GET", f"{self.url}/_llmock/requests").raise_for_status()

    def report(self) -> "subprocess.CompletedProcess[str]":
        """What it thinks of its client: exit 1 for one that misbehaves."""
        return subprocess.run(
            [*_command("report"), "--json", "--url", self.url],
            **_options(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@contextmanager
def llmock() -> Iterator[Mock]:
    """On a free port."""
    _install()
    port = refusing_port()
    process = subprocess.Popen(
        [*_command("serve"), "--port", str(port), "--response-style", "hello"],
        **_options(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    mock = Mock(f"http://127.0.0.1:{port}", process)
    try:
        until(lambda: _answers(mock), within=PATIENCE)
        yield mock
    finally:
        process.kill()
        process.wait(10)


def _install() -> None:
    if FOLDER.exists():
        return
    FOLDER.parent.mkdir(exist_ok=True)
    made = FOLDER.with_name(f"{FOLDER.name}-{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS), "--target", str(made)],
        check=True,
        timeout=100,
    )
    made.rename(FOLDER)


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "llmock.cli", name]


def _options() -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMOCK_")}
    return {"cwd": ROOT, "env": {**kept, "PYTHONPATH": str(FOLDER)}}


def _answers(mock: Mock) -> bool:
    assert mock.process.poll() is None, "llmock has ended"
    try:
        return ask("GET", f"{mock.url}/_llmock/requests").is_success
    except httpx.TransportError:
        time.sleep(0.05)
        return False
