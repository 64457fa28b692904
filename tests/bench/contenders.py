"""
The processes that are measured, and the upstream behind them.

Each is started as an operator would start it, and stopped when its block is left.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from gateway.access import Key
from tests.bench.job import Job, Measured
from tests.bench.upstream import MODEL
from tests.bench.upstream import upstream as upstream

ROOT = Path(__file__).parent.parent.parent
PUBLIC_MODEL = "chat-small"
PATIENCE = 30.0
"""Seconds for a process to start."""
STOPPING = 10.0
"""Seconds for a process to end after SIGTERM."""

_URL = re.compile(r"http://[\w.]+:\d+")
_CONFIG = """\
providers:
  upstream: {{kind: vllm, base_url: "{url}", max_concurrency: 10000}}
models:
  {public}:
    targets: [{{provider: upstream, model: "{model}"}}]
    max_output: 4096
plans:
  default: {{requests: 100000000/minute, tokens: 1000000000000/minute, concurrency: 10000}}
tenants:
  bench: {{plan: default, models: ["*"], keys: [{{name: bench, key: "{key}"}}]}}
"""


class NotStarted(Exception):
    """A process did not come up, or does not do what it should."""


@dataclass(frozen=True)
class Contender:
    """A running process to measure; `start_seconds` from its beginning until it listened."""

    name: str
    pid: int
    port: int
    start_seconds: float
    key: str = ""
    log: Path | None = None
    headers: str = ""

    def job(self, **fields: object) -> Job:
        """A job for the load generator."""
        return Job(
            port=self.port,
            pid=self.pid,
            key=self.key,
            model=PUBLIC_MODEL,
            headers=self.headers,
            **fields,  # type: ignore[arg-type]  # the caller's fields are Job's own
        )


def measure(job: Job) -> Measured:
    """
    Let the load generator do a job, in a process of its own.

    Raises:
        NotStarted: it could not; its own words say why.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", orjson.dumps(job).decode()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=job.warm + job.seconds + PATIENCE,
    )
    if done.returncode:
        raise NotStarted(done.stderr)
    return Measured(**orjson.loads(done.stdout))


@contextmanager
def bare(upstream_port: int, directory: Path) -> Iterator[Contender]:
    """The relay without features."""
    command = ["tests.bench.bare", f"http://127.0.0.1:{upstream_port}"]
    with _running("bare relay", command, directory / "bare.log", {}) as contender:
        yield contender


@contextmanager
def gateway(
    name: str, upstream_port: int, directory: Path, env: Mapping[str, str], *, more: str = ""
) -> Iterator[Contender]:
    """
    The real command: a key, validation, three limits, metrics, and a log line for each request.
    `more` is further YAML of its configuration.

    Raises:
        NotStarted: it did not come up, or a feature is off.
    """
    key = Key.generate().reveal()
    text = configuration(upstream_port, key) + more
    with configured_gateway(name, text, key, directory, env) as contender:
        yield contender


def configuration(upstream_port: int, key: str) -> str:
    """YAML for a gateway before that upstream, with one key that has limits."""
    url = f"http://127.0.0.1:{upstream_port}"
    return _CONFIG.format(url=url, public=PUBLIC_MODEL, model=MODEL, key=key)


@contextmanager
def configured_gateway(
    name: str, text: str, key: str, directory: Path, env: Mapping[str, str]
) -> Iterator[Contender]:
    """
    The same by a configuration file of that text, in which `key` may use `PUBLIC_MODEL`.

    Raises:
        NotStarted: it did not come up, or a feature is off.
    """
    config = directory / f"{name}.yaml"
    config.write_text(text)
    log = directory / f"{name}.log"
    command = ["gateway", "serve", "--config", str(config), "--port", "0"]
    # The address is printed, and would wait in a buffer where standard output is a file.
    env = {"PYTHONUNBUFFERED": "1", "LOCKGATE_STATE_DIR": str(directory / "state"), **env}
    with _running(name, command, log, env) as started:
        contender = Contender(name, started.pid, started.port, started.start_seconds, key, log)
        _prove_features(contender)
        yield contender


@contextmanager
def foreign(
    name: str,
    command: Sequence[str | Path],
    port: int,
    directory: Path,
    *,
    key: str = "",
    headers: str = "",
    env: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> Iterator[Contender]:
    """
    Any server, that its command makes listen on `port` within `patience` seconds. `headers` are
    lines that it wants in the head of each request.

    Raises:
        NotStarted: it did not; its own words say why.
    """
    log = directory / f"{name}.log"
    # What it would keep in its user's home it keeps there.
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(directory))
    with _process(command, log, {**homes, **(env or {})}) as (process, began):
        _wait_for_port(process, port, log, patience)
        took = time.perf_counter() - began
        yield Contender(name, process.pid, port, took, key, log, headers)


def free_port() -> int:
    """A port for whoever can not choose one itself; nobody else has it, with some luck."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    name: str, command: list[str], log: Path, env: Mapping[str, str]
) -> Iterator[Contender]:
    with _process([sys.executable, "-m", *command], log, env) as (process, began):
        url = _announced(process, log)
        took = time.perf_counter() - began
        yield Contender(name, process.pid, urlsplit(url).port or 0, took)


@contextmanager
def _process(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """A process, and when it began; it is ended with the block."""
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**_without_settings(), **env},
        )
    try:
        yield process, began
    finally:
        process.terminate()
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _without_settings() -> dict[str, str]:
    """The environment, without what would make one machine's gateway another's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOCKGATE_", "OTEL_", "ROLTER_"))
    }


def _announced(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if found := _URL.search(log.read_text(errors="replace")):
            return found.group()
        time.sleep(0.005)
    raise NotStarted(log.read_text(errors="replace"))


def _wait_for_port(
    process: "subprocess.Popen[bytes]", port: int, log: Path, patience: float
) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise NotStarted(log.read_text(errors="replace"))


def _prove_features(contender: Contender) -> None:
    """A figure is worth nothing if what it should include was off."""
    prove_it_asks_who(contender)
    answered = _ask(contender, key=contender.key)
    for header in (b"x-request-id", b"x-ratelimit-remaining-requests", b"x-ratelimit-limit-tokens"):
        if header not in answered:
            raise NotStarted(f"{contender.name} did not say {header!r}: {answered!r}")
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if contender.log is not None and b'"prompt_tokens":38' in contender.log.read_bytes():
            return
        time.sleep(0.01)
    raise NotStarted(f"{contender.name} wrote no line for a request")


def prove_it_asks_who(contender: Contender) -> None:
    """
    What answers everybody has less to do.

    Raises:
        NotStarted: it does.
    """
    anonymous = _ask(contender, key="lg_nobody")
    if not anonymous.startswith(b"HTTP/1.1 401"):
        raise NotStarted(f"{contender.name} answers whoever asks: {anonymous!r}")


def _ask(contender: Contender, *, key: str) -> bytes:
    body = orjson.dumps(
        {"model": PUBLIC_MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", contender.port), timeout=5) as connection:
        connection.sendall(head.encode() + body)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)
