"""
Other gateways, each before the same upstream, with what they need to answer for one model.

None may talk to anybody but the upstream: they are told so, and their ways out lead nowhere.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench.contenders import PUBLIC_MODEL, Contender, foreign, free_port
from tests.bench.environments import FOLDER, NotInstalled, environment
from tests.bench.upstream import MODEL

_HERE = Path(__file__).parent
_NOWHERE = "http://127.0.0.1:9"
_LOOPBACK: Mapping[str, str] = {
    "HTTP_PROXY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
}
_KEY = "sk-bench"
_LITELLM = """\
model_list:
  - model_name: {public}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
"""
_LITELLM_ENV: Mapping[str, str] = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
}
_LITELLM_PATIENCE = 120.0
"""Seconds until it is ready: it imports very much."""


@contextmanager
def vllm_router(upstream: int, directory: Path) -> Iterator[Contender]:
    """
    The router in Rust: it knows no callers and no limits.

    Raises:
        NotInstalled: it is not there, and can not be had.
        NotStarted: it did not come up.
    """
    program, port = environment("vllm-router") / "vllm-router", free_port()
    arguments: list[str | Path] = [
        program,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    arguments += ["--worker-urls", f"http://127.0.0.1:{upstream}"]
    arguments += ["--prometheus-port", str(free_port())]
    with foreign("vllm-router", arguments, port, directory, env=_LOOPBACK) as contender:
        yield contender


@contextmanager
def portkey(upstream: int, directory: Path) -> Iterator[Contender]:
    """
    The gateway on Node: every request says where it is to go.

    Raises:
        NotInstalled: it is not there, and can not be had.
        NotStarted: it did not come up.
    """
    program = _node_modules("portkey") / "@portkey-ai/gateway/build/start-server.js"
    port = free_port()
    headers = (
        f"x-portkey-provider: openai\r\nx-portkey-custom-host: http://127.0.0.1:{upstream}/v1\r\n"
    )
    command: list[str | Path] = ["node", program, f"--port={port}", "--headless"]
    with foreign(
        "Portkey", command, port, directory, key="none", headers=headers, env=_LOOPBACK
    ) as contender:
        yield contender


@contextmanager
def litellm(upstream: int, directory: Path) -> Iterator[Contender]:
    """
    The proxy in Python, with a master key and no database.

    Raises:
        NotInstalled: it is not there, and can not be had.
        NotStarted: it did not come up.
    """
    program, port = environment("litellm") / "litellm", free_port()
    config = directory / "litellm.yaml"
    config.write_text(
        _LITELLM.format(upstream=upstream, public=PUBLIC_MODEL, model=MODEL, key=_KEY)
    )
    command: list[str | Path] = [program, "--config", config]
    command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    with foreign(
        "LiteLLM",
        command,
        port,
        directory,
        key=_KEY,
        env={**_LOOPBACK, **_LITELLM_ENV},
        patience=_LITELLM_PATIENCE,
    ) as contender:
        yield contender


def _node_modules(name: str) -> Path:
    """
    The packages that `<name>/package-lock.json` pins; nothing of theirs runs while they come.

    Raises:
        NotInstalled: they can not be had.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise NotInstalled("node and npm are missing")
    folder = FOLDER / name
    modules, wanted = folder / "node_modules", _HERE / name / "package-lock.json"
    installed = folder / "package-lock.json"
    if not modules.exists() or installed.read_bytes() != wanted.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(_HERE / name, folder)
        print(f"Installing {name} into {folder.relative_to(FOLDER.parent)} ...")
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalled(f"npm: {done.stderr.strip().splitlines()[-1]}")
    return modules
