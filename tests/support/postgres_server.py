"""
A real PostgreSQL for tests, reached by a Unix socket in a directory of its own.

Where Debian's postgresql is missing it is installed; where that fails so does the test. Its data
outlives kills and restarts, until the block is left.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.debian import command

SOON = 30.0
"""Seconds that a server may take to come up or to end."""

ACCOUNT = "postgres"
"""Who runs the server where the tests run as root, which it refuses."""

OPTIONS = (
    # Nothing here has to outlive the machine.
    *("fsync=off", "full_page_writes=off", "autovacuum=off"),
    *("shared_buffers=16MB", "max_connections=200", "listen_addresses="),
    # Whoever takes a server's time for UTC is found out.
    "timezone=Asia/Kathmandu",
)


class PostgresServer:
    """
    One server with an empty database `postgres`. Leaving the block ends it by its pid and removes
    its directory. The port is a part of the socket's name unless it is told to listen on it.
    """

    def __init__(self, port: int = 5432) -> None:
        self._options: tuple[str, ...] = (*OPTIONS, f"port={port}")
        self._port = port
        self._directory = tempfile.TemporaryDirectory(prefix="lg-pg-", ignore_cleanup_errors=True)
        self._data = Path(self._directory.name) / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()

    @property
    def url(self) -> str:
        """Of the database `postgres`, as its superuser."""
        return self.url_of("postgres")

    def url_of(self, database: str, role: str = "lockgate", password: str = "") -> str:
        """Of a database, for a role."""
        who = f"{role}:{password}" if password else role
        where = f"host={self._directory.name}&port={self._port}"
        return f"postgresql://{who}@/{database}?{where}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its directory."""
        self.kill()
        self._directory.cleanup()

    def start(self) -> None:
        """Start it with the data that it had, and wait until it answers."""
        if not self._data.exists():
            self._make()
        self._process = subprocess.Popen(
            [
                _binary("postgres"),
                "-D",
                self._data,
                "-k",
                self._directory.name,
                *_set(self._options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_account(),
        )
        until = time.monotonic() + SOON
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("postgres did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order; who is connected is cut off."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(SOON)
        self._process = None

    def restart(self) -> None:
        """End it in order and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it as a crash would; what was committed is kept."""
        if self._process is None:
            return
        processes = self._processes()
        for pid in processes:
            _signal(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        until = time.monotonic() + SOON
        while any(_lives(pid) for pid in processes) and time.monotonic() < until:
            time.sleep(0.01)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it accept and never answer."""
        for pid in self._processes():
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in self._processes():
            _signal(pid, signal.SIGCONT)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """
        Run a statement on a connection of its own; rows come as lines, columns between `|`.

        Raises:
            RuntimeError: the server refused; the text says why.
        """
        done = subprocess.run(
            [*self._psql(database), "-v", "ON_ERROR_STOP=1", "-c", statement],
            capture_output=True,
            text=True,
            timeout=SOON,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.removesuffix("\n")

    def new_database(self, template: str = "template1") -> str:
        """Make a database like another one, which nobody may be connected to; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is connected."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def keep(self, file: Path) -> Path:
        """A copy of a file that the server, and nobody else, may read."""
        mine = Path(self._directory.name) / file.name
        shutil.copyfile(file, mine)
        mine.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(mine, ACCOUNT, ACCOUNT)
        return mine

    def set(self, *options: str) -> None:
        """Further settings, in force from the next start."""
        self._options = (*self._options, *options)

    def _make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._directory.name, ACCOUNT, ACCOUNT)
        options = ["-U", "lockgate", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [_binary("initdb"), "-D", self._data, *options],
            check=True,
            capture_output=True,
            timeout=60,
            **self._as_account(),
        )

    def _as_account(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        account = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": ()}
        return {**account, "cwd": self._directory.name}

    def _psql(self, database: str) -> list[str | Path]:
        where = [
            "-h",
            self._directory.name,
            "-p",
            str(self._port),
            "-U",
            "lockgate",
            "-d",
            database,
        ]
        return [_binary("psql"), "-X", "-q", "-A", "-t", *where]

    def _answers(self) -> bool:
        asked = subprocess.run(
            [*self._psql("postgres"), "-c", "SELECT 1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return asked.returncode == 0

    def _processes(self) -> list[int]:
        """The server and its children, each of which has a session of its own."""
        assert self._process is not None
        stats = Path("/proc").glob("[0-9]*/stat")
        mine = self._process.pid
        return [mine, *(int(stat.parent.name) for stat in stats if _parent(stat) == mine)]


def _set(options: tuple[str, ...]) -> list[str]:
    return [word for option in options for word in ("-c", option)]


def _binary(name: str) -> Path:
    """Debian keeps the server's own commands off the PATH, by version."""
    found = _newest(name)
    if found is None and shutil.which(name) is None:
        command("pg_lsclusters", "postgresql")
        found = _newest(name)
    return found or Path(command(name, "postgresql"))


def _newest(name: str) -> Path | None:
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    return max(versions, key=lambda path: int(path.parts[-3]), default=None)


def _parent(stat: Path) -> int | None:
    try:
        # The name before the last parenthesis may hold anything.
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
