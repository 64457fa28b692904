"""
Real inference servers: installed when they are missing, started on free ports, stopped by pid.

What is built or fetched lies in `.real/`, which may be deleted at any time. A server's output
goes to a file, so that it never waits for a reader, and is shown if the server does not start.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import ROOT

HERE = Path(__file__).parent
INSTALLED = ROOT / ".real"
KEY = "sk-real-upstream-key"
MODEL = "smollm2"
"""What both servers call SmolLM2-135M-Instruct."""
CONTEXT = 2048
"""Tokens of prompt and answer together."""


@dataclass(frozen=True)
class RealServer:
    """A running server. `kind` is how the gateway speaks to it; `busy_metrics` count requests."""

    kind: str
    url: str
    process: "subprocess.Popen[bytes]"
    printed: Path
    busy_metrics: tuple[str, ...]

    def provider(self, **fields: Any) -> dict[str, Any]:
        """Its entry in the gateway's configuration."""
        return {"kind": self.kind, "base_url": self.url, "api_key": KEY, **fields}

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What it answers without a gateway in front."""
        answer = httpx.post(self.url + path, json=body, headers=self._headers, timeout=60)
        told: dict[str, Any] = answer.raise_for_status().json()
        return told

    def busy(self) -> int:
        """Requests that it works on or keeps waiting, by its own metrics."""
        return self._sum(*self.busy_metrics)

    def tokens(self) -> tuple[int, int]:
        """Tokens that vLLM has read and written, by its own metrics."""
        return self._sum("vllm:prompt_tokens_total"), self._sum("vllm:generation_tokens_total")

    def is_healthy(self) -> bool:
        """Whether it has loaded its model."""
        try:
            return httpx.get(self.url + "/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_healthy(self, patience: float) -> None:
        """Return as soon as it is; `AssertionError` with its output after so many seconds."""
        deadline = time.monotonic() + patience
        while not self.is_healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.url} did not start:\n{self.output[-4000:]}")
            time.sleep(0.05)

    def _sum(self, *names: str) -> int:
        answer = httpx.get(self.url + "/metrics", headers=self._headers, timeout=30)
        families = text_string_to_metric_families(answer.raise_for_status().text)
        samples = [sample for family in families for sample in family.samples]
        return round(sum(each.value for each in samples if each.name in names))

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self.printed.read_text(errors="replace")

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {KEY}"}


@contextmanager
def llama(folder: Path, *options: str, port: int = 0, loaded: bool = True) -> Iterator[RealServer]:
    """llama.cpp's server with two slots; where not `loaded`, as soon as its process runs."""
    _install("fetch_model.sh", INSTALLED)
    _install("install_llama.sh", INSTALLED / "llama")
    port = port or free_port()
    command = [
        *(INSTALLED / "llama/llama-server", "--model", INSTALLED / "smollm2.gguf"),
        *("--alias", MODEL, "--host", "127.0.0.1", "--port", port, "--api-key", KEY),
        *("--ctx-size", 2 * CONTEXT, "--parallel", 2, "--threads", 1, "--metrics", "--jinja"),
        *("--no-slots", "--offline", *options),
    ]
    busy = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
    with _started(command, folder / f"llama-{port}.out", {}) as (process, printed):
        server = RealServer("openai", f"http://127.0.0.1:{port}", process, printed, busy)
        if loaded:
            server.wait_until_healthy(60)
        yield server


@contextmanager
def vllm(folder: Path) -> Iterator[RealServer]:
    """vLLM on the CPU, its model loaded: a minute."""
    _install("fetch_model.sh", INSTALLED)
    _install("install_vllm.sh", INSTALLED / "vllm", INSTALLED / "smollm2.gguf")
    port = free_port()
    command = [
        *(INSTALLED / "vllm/venv/bin/python", INSTALLED / "vllm/venv/bin/vllm"),
        *("serve", INSTALLED / "vllm/model", "--served-model-name", MODEL),
        *("--host", "127.0.0.1", "--port", port, "--api-key", KEY),
        *("--max-model-len", CONTEXT, "--max-num-seqs", 8, "--dtype", "bfloat16"),
        *("--enforce-eager", "--no-enable-log-requests"),
    ]
    quiet = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    busy = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    print("vLLM: starting (a minute)", flush=True)
    with _started(command, folder / f"vllm-{port}.out", quiet) as (process, printed):
        server = RealServer("vllm", f"http://127.0.0.1:{port}", process, printed, busy)
        server.wait_until_healthy(300)
        yield server


@contextmanager
def _started(
    command: list[Any], printed: Path, variables: Mapping[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
        )
    try:
        yield process, printed
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM first: vLLM has processes of its own, which it ends itself."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _install(script: str, *arguments: Path) -> None:
    """Run a script that does nothing where all is there; its progress is shown as it comes."""
    command = [str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "PYTHON": sys.executable}, check=False)
    assert done.returncode == 0, f"{script} failed; what it printed says why"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
