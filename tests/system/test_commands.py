"""The command line as a person meets it: what it prints, how it ends, and never a traceback."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from gateway.access import Key
from tests.support.processes import ROOT
from tests.system.world import JWT_SECRET, KEY, OPERATOR, PEPPER, environment, settings

UP = "http://127.0.0.1:9"
SECRET = "sk-a-provider-credential"


def lockgate(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The command, to its end; nothing that it prints is a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=environment(**variables),
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that can be used."""
    path = tmp_path / "good.yaml"
    path.write_text(json.dumps(settings({"sim": UP}), indent=1))
    return path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def refused(done: "subprocess.CompletedProcess[str]", code: int = 2) -> list[str]:
    """The lines of a refusal, which is all that was printed."""
    assert done.returncode == code
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("lockgate: ") for line in lines)
    return [line.removeprefix("lockgate: ") for line in lines]


def test_the_version_is_the_packages() -> None:
    done = lockgate("--version")
    assert (done.returncode, done.stdout) == (0, f"{gateway.__version__}\n")


@pytest.mark.parametrize("command", ["", "serve", "keys generate"])
def test_help_names_what_there_is(command: str) -> None:
    done = lockgate(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["serve --prot 1", "sevre"])
def test_wrong_usage_is_told_and_exits_with_2(arguments: str) -> None:
    done = lockgate(*arguments.split())
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_a_good_configuration_is_valid(file: Path) -> None:
    done = lockgate("check", "--config", str(file))
    assert (done.returncode, done.stdout) == (0, "The configuration is valid.\n")


def test_the_shipped_configuration_is_valid_without_any_variable() -> None:
    assert lockgate("check").returncode == 0


def test_the_schema_is_json() -> None:
    done = lockgate("check", "--schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize(
    ("command", "good", "bad", "word"),
    [
        ("check", '"kind": "vllm"', '"kind": "vlm"', "vlm"),
        ("serve", '"max_output": 512', '"max_output": -1', "max_output"),
        ("check", '"provider": "sim"', '"provider": "sin"', "sin"),
        ("serve", KEY, KEY[:-1] + "_", "key"),
    ],
    ids=["kind", "range", "provider", "key"],
)
def test_a_fault_in_the_configuration_is_told_with_file_and_line(
    file: Path, command: str, good: str, bad: str, word: str
) -> None:
    text = file.read_text()
    assert good in text
    line = text[: text.index(good)].count("\n") + 1
    file.write_text(text.replace(good, bad))

    [told] = refused(lockgate(command, "--config", str(file)))

    place = re.match(rf"{re.escape(str(file))}:(\d+)", told)
    assert place is not None, told
    # A list is told by its beginning or by the entry at fault.
    assert int(place.group(1)) in (line, line + 1)
    assert word in told
    assert KEY[:-1] not in told


def test_several_faults_are_told_at_once(file: Path) -> None:
    text = file.read_text().replace('"max_output": 512', '"max_output": -1')
    file.write_text(text.replace('"kind": "vllm"', '"kind": "vlm"'))
    assert len(refused(lockgate("check", "--config", str(file)))) == 2


def test_a_file_that_is_no_yaml_is_told_with_its_line(file: Path) -> None:
    file.write_text("providers:\n  a: {kind: vllm\n")
    assert refused(lockgate("check", "--config", str(file)))[0].startswith(f"{file}:")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for command in ("check", "serve"):
        [told] = refused(lockgate(command, "--config", str(tmp_path / "none.yaml")))
        assert "none.yaml" in told


def test_a_variable_that_is_not_set_is_told_with_file_and_line(file: Path) -> None:
    text = file.read_text().replace(KEY, "${SOME_KEY}")
    file.write_text(text)
    line = text[: text.index("${SOME_KEY}")].count("\n") + 1

    [told] = refused(lockgate("check", "--config", str(file)))
    assert told.startswith(f"{file}:{line}")
    assert "SOME_KEY" in told
    assert lockgate("check", "--config", str(file), SOME_KEY=KEY).returncode == 0


def test_a_port_that_is_taken_is_told_and_exits_with_1(file: Path, taken: int) -> None:
    for command in (("serve", "--config", str(file)), ("simulate",)):
        [told] = refused(lockgate(*command, "--port", str(taken)), code=1)
        assert str(taken) in told


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"LOCKGATE_ADMIN_TOKEN": OPERATOR}, "LOCKGATE_KEY_PEPPER"),
        ({"LOCKGATE_KEY_PEPPER": PEPPER}, "LOCKGATE_ADMIN_TOKEN"),
        (
            {
                "LOCKGATE_KEY_PEPPER": PEPPER,
                "LOCKGATE_ADMIN_TOKEN": OPERATOR,
            },
            "LOCKGATE_JWT_SECRET",
        ),
        (
            {
                "LOCKGATE_KEY_PEPPER": PEPPER,
                "LOCKGATE_ADMIN_TOKEN": OPERATOR,
                "LOCKGATE_JWT_SECRET": JWT_SECRET,
                "LOCKGATE_LOG_LEVEL": "debug",
            },
            "LOCKGATE_LOG_LEVEL",
        ),
    ],
    ids=["no-pepper", "no-token", "no-jwt-secret", "debug"],
)
def test_production_refuses_to_start_unsafely(
    file: Path, variables: dict[str, str], word: str
) -> None:
    [told] = refused(
        lockgate("serve", "--config", str(file), LOCKGATE_ENVIRONMENT="production", **variables)
    )
    assert word in told


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("ENVIRONMENT", "prod")],
)
def test_a_wrong_setting_is_told_by_its_variable(file: Path, name: str, value: str) -> None:
    [told] = refused(lockgate("serve", "--config", str(file), **{f"LOCKGATE_{name}": value}))
    assert told.startswith(f"LOCKGATE_{name}: ")


def test_an_address_of_redis_that_is_none_is_told_without_its_password(file: Path) -> None:
    told = refused(
        lockgate("serve", "--config", str(file), LOCKGATE_REDIS_URL=f"http://u:{SECRET}@host")
    )
    assert "LOCKGATE_REDIS_URL" in told[0]
    assert SECRET not in told[0]


def test_a_generated_key_is_one_that_the_gateway_takes(tmp_path: Path) -> None:
    done = lockgate("keys", "generate", LOCKGATE_STATE_DIR=str(tmp_path / "state"))
    assert done.returncode == 0
    assert _key(done.stdout) is not None
    assert not list(tmp_path.iterdir())


def test_with_a_pepper_the_stored_form_is_told_too_and_can_be_configured(
    file: Path,
) -> None:
    done = lockgate("keys", "generate", "--name", "ci", LOCKGATE_KEY_PEPPER=PEPPER)
    stored = re.search(r"[A-Za-z0-9]+:[0-9a-f]{64}", done.stdout)
    assert stored is not None
    file.write_text(file.read_text().replace(f'"key": "{KEY}"', f'"key_hash": "{stored.group()}"'))
    checked = lockgate("check", "--config", str(file), LOCKGATE_KEY_PEPPER=PEPPER)
    assert checked.returncode == 0


def _key(text: str) -> Key | None:
    found = re.search(r"lg_[A-Za-z0-9]+_[A-Za-z0-9_]+", text)
    return Key.parse(found.group()) if found else None


@pytest.mark.parametrize(
    "option",
    [("--fault", "explode"), ("--fault", "cut,after=-1"), ("--answer-tokens", "0")],
    ids=" ".join,
)
def test_a_simulator_that_makes_no_sense_is_refused(option: tuple[str, str]) -> None:
    refused(lockgate("simulate", "--port", "0", *option))
