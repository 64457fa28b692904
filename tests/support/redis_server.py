"""
A real Redis for tests, reached by a Unix socket in a directory of its own.

Where Debian's redis-server is missing it is installed; where that fails so does the test, because
limits that were not tried on Redis were not tried.
"""

import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.debian import command

SOON = 10.0
"""Seconds that a server may take to answer its first ping."""


class RedisServer:
    """
    One server, empty at first, keeping nothing on disk. Leaving the block ends it by its pid and
    removes its directory.

    `options` come after our own, as on its command line: `--appendonly yes` keeps data over a
    `kill` and a `start`.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._directory = tempfile.TemporaryDirectory(prefix="lg-redis-")
        self._socket = Path(self._directory.name) / "s"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> Path:
        """Where it keeps what it keeps."""
        return Path(self._directory.name)

    @property
    def url(self) -> str:
        """For `open_redis`."""
        return f"unix://{self._socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._directory.cleanup()

    def start(self) -> None:
        """Start it, empty if it keeps nothing, and wait until it listens."""
        options = f"--port 0 --save --appendonly no --unixsocket {self._socket}".split()
        options.insert(3, "")  # --save ''
        self._process = subprocess.Popen(
            [command("redis-server"), *options, "--dir", self._directory.name, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + SOON
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.005)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as caller:
            return caller.connect_ex(str(self._socket)) == 0

    def kill(self) -> None:
        """End it as a crash would; all it held is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it accept and never answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
