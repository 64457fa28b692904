"""
A gateway and its upstreams as processes, and what a test may ask of each.

Everything a process prints goes to a file, so that none ever waits for a reader and a test can
read it while the process runs. Whoever starts a process stops it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.access import Key
from tests.support.processes import ROOT

Json = dict[str, Any]

PATIENCE = 30.0
"""Seconds that a process may take to listen, on a machine that is busy with other tests."""

OPERATOR = "operator-token-0123456789"
PEPPER = "a-pepper-that-is-long-enough-for-production"
JWT_SECRET = "a-secret-for-tokens-that-is-long-enough-for-production"
KEY = Key.generate(Random(1)).reveal()
"""The key of the tenant that `settings` configures."""

_URL = re.compile(r"http://[\w.\[\]:]+:\d+")
_OURS = ("LOCKGATE_", "OTEL_", "OPENAI_", "HF_")


@dataclass
class Server:
    """A running command that has said where it listens."""

    process: "subprocess.Popen[bytes]"
    printed: Path
    url: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """All that it has printed so far, to standard output and error."""
        return self.printed.read_text()

    def records(self, event: str = "request") -> list[Json]:
        """The JSON lines of one event that it has printed; what it is just writing is none yet."""
        written = self.output.rpartition("\n")[0]
        lines = [line for line in written.splitlines() if line.startswith("{")]
        return [told for line in lines if (told := json.loads(line)).get("event") == event]

    def told(self, count: int) -> list[Json]:
        """The lines of all requests, as soon as there are so many: they are written later."""
        until(lambda: len(self.records()) >= count)
        return self.records()

    def record(self, request_id: str) -> Json:
        """The one line of that request, as soon as it is there."""

        def found() -> list[Json]:
            return [each for each in self.records() if each["request_id"] == request_id]

        until(lambda: bool(found()))
        [record] = found()
        return record

    def terminate(self) -> None:
        """Ask it to stop, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As if the machine had lost it."""
        self.process.kill()
        self.process.wait(10)

    def ended(self, within: float = 15.0) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(within)


class Simulator(Server):
    """A simulated vLLM server."""

    def faults(self, *rules: Json) -> None:
        """These rules from now on; none clears them."""
        ask("PUT", f"{self.url}/simulator/faults", json=rules).raise_for_status()

    def state(self) -> Json:
        """Its own counts."""
        told: Json = ask("GET", f"{self.url}/simulator/state").json()
        return told

    def requests(self) -> list[Json]:
        """The requests that it last saw, the oldest first."""
        seen: list[Json] = ask("GET", f"{self.url}/simulator/requests").json()
        return seen

    def fresh(self) -> None:
        """No faults, and nothing seen."""
        self.faults()
        ask("DELETE", f"{self.url}/simulator/requests").raise_for_status()


class Gateway(Server):
    """A gateway in front of them."""

    def metrics(self, token: str | None = None) -> dict[str, float]:
        """Every sample by its name and labels, as in `name{label="value"}`."""
        headers = {"authorization": f"Bearer {token or OPERATOR}"}
        text = ask("GET", f"{self.url}/metrics", headers=headers).raise_for_status().text
        samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]
        return {f"{each.name}{_labels(each.labels)}": each.value for each in samples}

    def is_idle(self) -> bool:
        """Whether nothing is in flight and every connection to an upstream is free."""
        told = self.metrics()
        in_flight = [v for name, v in told.items() if name.startswith("lockgate_requests_in_f")]
        opened, idle = (
            told[f'lockgate_upstream_connections{{state="{state}"}}'] for state in ("open", "idle")
        )
        return not any(in_flight) and opened == idle


S = TypeVar("S", bound=Server)


def _labels(labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{name}="{labels[name]}"' for name in sorted(labels))
    return f"{{{shown}}}" if shown else ""


def until(true: Callable[[], bool], *, within: float = 5.0) -> None:
    """Return as soon as `true()`; `TimeoutError` after so many seconds."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what would configure a gateway by accident."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **changes}


@contextmanager
def simulator(folder: Path, *options: str, port: int = 0) -> Iterator[Simulator]:
    """`lockgate simulate`, listening."""
    command = ("simulate", "--port", str(port), *options)
    with started(Simulator, folder, command, environment()) as server:
        yield server


@contextmanager
def gateway(folder: Path, config: Json, **variables: str) -> Iterator[Gateway]:
    """`lockgate serve` on a free port, listening; `variables` are LOCKGATE_ ones and others."""
    folder.mkdir(exist_ok=True)
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(config, indent=1))
    env = {
        "LOCKGATE_PORT": "0",
        "LOCKGATE_ADMIN_TOKEN": OPERATOR,
        "LOCKGATE_KEY_PEPPER": PEPPER,
        "LOCKGATE_JWT_SECRET": JWT_SECRET,
        **variables,
    }
    with started(Gateway, folder, ("serve", "--config", str(file)), environment(**env)) as server:
        yield server


@contextmanager
def started(
    kind: type[S], folder: Path, arguments: tuple[str, ...], env: Mapping[str, str]
) -> Iterator[S]:
    """`python -m gateway …`, once it has printed its address; its state is in the folder."""
    folder.mkdir(exist_ok=True)
    env = {"LOCKGATE_STATE_DIR": str(folder / "state"), **env}
    printed = folder / f"{arguments[0]}-{len(list(folder.iterdir()))}.out"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=env,
        )
    server = kind(process, printed)
    try:
        server.url = _url(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def _url(server: Server) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended = server.process.poll() is not None
        if found := _URL.search(server.output):
            return found.group()
        if ended:
            break
        time.sleep(0.01)
    raise AssertionError(f"it did not start:\n{server.output}")


# Configurations


def settings(
    upstreams: Mapping[str, str],
    *,
    plan: Json | None = None,
    model: Json | None = None,
    **more: Any,
) -> Json:
    """
    A configuration: the model `chat` on those upstreams (name and address), in order.

    `model` changes the model, `plan` is its one tenant's, and the rest replaces whole sections.
    Health forgives everything, so that one test's faults are not the next one's.
    """
    targets = [{"provider": name, "model": "demo-model"} for name in upstreams]
    return {
        "providers": {name: vllm(url) for name, url in upstreams.items()},
        "models": {"chat": {"targets": targets, "max_output": 512, **(model or {})}},
        "plans": {"default": plan or {}},
        "tenants": {"acme": {"models": ["*"], "keys": [{"name": "ci", "key": KEY}]}},
        "health": FORGIVING,
        **more,
    }


FORGIVING: Json = {
    "consecutive_failures": 1000,
    "window": 1000,
    "failure_rate": 1,
    "cool_down": "10ms",
    "max_cool_down": "10ms",
    "max_retry_after": "10ms",
    "credential_cool_down": "10ms",
    "quota_cool_down": "10ms",
    "ramp": 0,
    "retry_share": 1,
    "retries_per_second": 1000,
}


def vllm(url: str, **fields: Any) -> Json:
    """A provider entry."""
    return {"kind": "vllm", "base_url": url, **fields}


def key(seed: int) -> str:
    """A key that is the same in every run."""
    return Key.generate(Random(seed)).reveal()


# Callers


def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """One request on a connection of its own, answered."""
    # Loading the authorities that no test needs would cost 50 ms.
    return httpx.request(method, url, verify=False, timeout=30, **options)


def chat(**fields: Any) -> Json:
    """The body of a chat request."""
    return {"model": "chat", "messages": [{"role": "user", "content": "Hello!"}], **fields}


def bearer(secret: str = KEY, **headers: str) -> dict[str, str]:
    """The headers of a caller."""
    return {"authorization": f"Bearer {secret}", **headers}


def post(server: Server, body: Json | None = None, **headers: str) -> httpx.Response:
    """One chat request, answered."""
    return ask(
        "POST",
        f"{server.url}/v1/chat/completions",
        json=chat() if body is None else body,
        headers=bearer() | headers,
    )


def data(stream: str) -> list[str]:
    """The data of each event of a stream."""
    return [block.removeprefix("data: ") for block in stream.split("\n\n") if block]
