import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gateway.app
import gateway.demo
import gateway.simulator
from gateway import __version__
from gateway.access import Key
from gateway.server import AddressInUse
from gateway.settings import Settings, StartRefused
from gateway.supervisor import supervising
from gateway.wiring import running
from tests.support.application import CONFIG, KEY, NARROW_KEY, NOWHERE, TOKEN
from tests.support.command_line import lockgate, refused
from tests.support.processes import ROOT

PEPPER = "a-pepper-of-the-tests-own"
COMMANDS = (
    "serve",
    "demo",
    "simulate",
    "check",
    "migrate",
    "diff",
    "apply",
    "tenants",
    "projects",
    "keys",
    "plans",
    "operators",
    "usage",
    "ledger",
    "audit",
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing of this machine's settings is read, and nothing is written but in `tmp_path`."""
    for name in os.environ:
        if name.startswith(("LOCKGATE_", "OTEL_")):
            monkeypatch.delenv(name)
    for name, value in {"SIM": NOWHERE, "KEY": KEY, "NARROW": NARROW_KEY}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCKGATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(running, "serve_listeners", _served)
    heard = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, heard)


def _served(*_: object, **__: object) -> None:
    raise AssertionError("nothing in this module may get so far")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        yield bound.getsockname()[1]


# Help


def test_the_version_is_printed() -> None:
    result = lockgate("--version")

    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_every_command_helps(arguments: list[str]) -> None:
    result = lockgate(*arguments)

    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_the_help_names_every_command() -> None:
    assert all(name in lockgate("--help").stdout for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such"],
        ["serve", "--no-such"],
        ["serve", "--port", "x"],
        ["check", "extra"],
        ["keys", "x"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    result = lockgate(*arguments)

    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_helping_loads_no_servers_libraries() -> None:
    script = "import sys, gateway.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )

    heavy = {
        "fastapi",
        "uvicorn",
        "redis",
        "sqlalchemy",
        "structlog",
        "httpx",
        "uvloop",
        "prometheus_client",
    }
    assert not heavy & set(loaded.stdout.split())


# check


def test_a_configuration_that_can_be_used_is_said_to_be_valid(file: Path, tmp_path: Path) -> None:
    result = lockgate("check", "--config", str(file))

    assert (result.exit_code, result.stdout) == (0, "The configuration is valid.\n")
    assert list(tmp_path.iterdir()) == [file]


def test_the_configuration_may_be_named_in_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_CONFIG", str(file))

    assert lockgate("check").exit_code == 0


def test_every_fault_of_a_file_is_a_line_with_its_place(file: Path) -> None:
    file.write_text(CONFIG.replace("kind: vllm", "kind: vlm").replace("plan: free", "plan: fre"))

    told = refused("check", "-c", str(file))

    assert f"{file}:2: " in told
    assert len(told.splitlines()) >= 2


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = refused("check", "--config", str(tmp_path / "none.yaml"))

    assert "No such file" in told


def test_the_schema_is_printed_as_json() -> None:
    result = lockgate("check", "--schema")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["properties"].keys() >= {"providers", "models", "tenants"}


# serve


def ran(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[tuple[Any, ...]]:
    """What a command's function is called with, in place of running it."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module, name, lambda *given: calls.append(given))
    return calls


def test_options_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ran(monkeypatch, gateway.app, "serve")
    monkeypatch.setenv("LOCKGATE_PORT", "1111")
    monkeypatch.setenv("LOCKGATE_HOST", "::1")

    lockgate("serve", "--port", "0", "-c", "a.yaml")

    ((settings,),) = calls
    assert isinstance(settings, Settings)
    assert (settings.port, settings.host, settings.config) == (0, "::1", Path("a.yaml"))


def test_several_workers_have_a_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = ran(monkeypatch, gateway.app, "serve")
    supervised = ran(monkeypatch, supervising, "supervise")
    monkeypatch.setenv("LOCKGATE_WORKERS", "3")

    lockgate("serve", "--insist")
    lockgate("serve", "--workers", "2", "--insist")
    lockgate("serve", "--workers", "1")

    assert [settings.workers for (settings,) in supervised] == [3, 2]
    assert [settings.workers for (settings,) in alone] == [1]
    assert "LOCKGATE_REDIS_URL" in refused("serve")


def test_a_worker_is_started_with_what_its_supervisor_has_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = ran(monkeypatch, gateway.app, "work")

    lockgate("worker", "7", "8")
    lockgate("worker", "7", "8", "9")

    assert [given[1:] for given in calls] == [(7, 8, None), (7, 8, 9)]
    assert "worker" not in lockgate("--help").stdout


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_does_not_exist_is_refused(command: str, port: str) -> None:
    assert "LOCKGATE_PORT: " in refused(command, "--port", port)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("LOCKGATE_ENVIRONMENT", "staging", ""),
        ("LOCKGATE_LOG_LEVEL", "loud", ""),
        ("LOCKGATE_PORT", "http", ""),
        ("LOCKGATE_REDIS_URL", "ftp://u:hidden@x", "hidden"),
        ("LOCKGATE_ADMIN_LISTEN", "nowhere", ""),
        ("LOCKGATE_ADMIN_LISTEN", "127.0.0.1:http", ""),
        ("LOCKGATE_ADMIN_LISTEN", "127.0.0.1:70000", ""),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, secret: str
) -> None:
    monkeypatch.setenv(name, value)

    told = refused("serve", "-c", str(file))

    assert name in told
    assert not secret or secret not in told


@pytest.mark.parametrize("missing", ["key_pepper", "admin_token"])
def test_production_without_a_secret_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    given = {"environment": "production", "key_pepper": PEPPER, "admin_token": TOKEN}
    for name, value in given.items():
        if name != missing:
            monkeypatch.setenv(f"LOCKGATE_{name.upper()}", value)

    told = refused("serve", "-c", str(file), "--port", "0")

    assert f"LOCKGATE_{missing.upper()} needs at least 16 characters" in told
    assert PEPPER not in told
    assert list(tmp_path.iterdir()) == [file]


def test_a_port_that_is_taken_ends_with_1(file: Path, taken: int) -> None:
    told = refused("serve", "-c", str(file), "--port", str(taken), code=1)

    assert f"can't listen on 127.0.0.1:{taken}: Address already in use" in told


def test_a_state_directory_that_can_not_be_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_STATE_DIR", str(file / "inside"))

    assert "LOCKGATE_STATE_DIR" in refused("serve", "-c", str(file), "--port", "0")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (StartRefused("one\ntwo"), 2, "lockgate: one\nlockgate: two\n"),
        (AddressInUse("taken"), 1, "lockgate: taken\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_ends_a_command_decides_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    def ends(*_: object) -> None:
        raise error

    monkeypatch.setattr(gateway.app, "serve", ends)
    result = lockgate("serve")

    assert (result.exit_code, result.stdout, result.stderr) == (code, "", told)


# demo and simulate


def test_the_demo_takes_a_file_and_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ran(monkeypatch, gateway.demo, "demo")

    assert lockgate("demo", "--port", "0", "-c", "a.yaml").exit_code == 0

    ((settings,),) = calls
    assert (settings.port, settings.config) == (0, Path("a.yaml"))


def test_a_simulator_takes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ran(monkeypatch, gateway.simulator, "simulate")

    result = lockgate(
        "simulate", "--port", "0", "--model", "a", "--model", "b", "--fault", "cut,after=3",
        "--tokens-per-second", "5", "--api-key", "k",
    )  # fmt: skip

    assert result.exit_code == 0
    ((options, faults),) = calls
    assert options["models"] == ["a", "b"]
    assert (options["port"], options["tokens_per_second"], options["api_key"]) == (0, 5.0, "k")
    assert faults == ["cut,after=3"]


@pytest.mark.parametrize(
    "arguments",
    [["--port", "70000"], ["--answer-tokens", "0"], ["--fault", "no-such"], ["--fault", ""]],
)
def test_a_simulator_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    refused("simulate", *arguments)


def test_a_simulator_whose_port_is_taken_ends_with_1(taken: int) -> None:
    assert f"127.0.0.1:{taken}" in refused("simulate", "--port", str(taken), code=1)


# keys


def test_a_new_key_is_shown_once_and_nothing_is_written(tmp_path: Path) -> None:
    outputs = [lockgate("keys", "generate", "--name", "ci").stdout for _ in range(2)]

    found = [word for text in outputs for word in text.split() if Key.parse(word)]
    assert len(set(found)) == 2
    assert list(tmp_path.iterdir()) == []


def test_with_a_pepper_the_stored_form_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_KEY_PEPPER", PEPPER)

    output = lockgate("keys", "generate").stdout

    (text,) = [word for word in output.split() if Key.parse(word)]
    key = Key.parse(text)
    assert key is not None
    assert f'key_hash: "{key.stored(PEPPER.encode())}"' in output
    assert PEPPER not in output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_to_reload_that_comes_too_early_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    heard = []

    def served(*_: object) -> None:
        heard.append(signal.getsignal(signal.SIGHUP))

    monkeypatch.setattr(gateway.app, "serve", served)
    monkeypatch.setattr(supervising, "supervise", served)
    assert lockgate("serve", "--workers", workers, "--insist").exit_code == 0
    assert heard == [signal.SIG_IGN]
