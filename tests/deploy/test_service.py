"""The unit file and the image recipe are what their linters accept, and say what the code does."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

from gateway.inbound.settings import HttpSettings
from gateway.settings import Settings

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNIT = DEPLOY / "lockgate.service"
DOCKERFILE = DEPLOY / "Dockerfile"


def _unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read(UNIT)
    return parser


def test_the_unit_waits_longer_than_a_shutdown_takes() -> None:
    http = HttpSettings()

    assert int(_unit()["Service"]["TimeoutStopSec"]) > 5 + http.drain_timeout


def test_the_unit_runs_the_command_in_production() -> None:
    service = _unit()["Service"]

    assert " serve --config " in service["ExecStart"]
    assert service["Environment"] == "LOCKGATE_ENVIRONMENT=production PYTHONSAFEPATH=1"
    assert service["LimitCORE"] == "0"
    assert service["NoNewPrivileges"] == "yes"


def test_the_unit_tells_the_gateway_alone_of_a_reload_and_of_the_end() -> None:
    """It is the one that tells its workers, which must not hear of anything twice."""
    service = _unit()["Service"]

    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["KillMode"] == "mixed"


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    """Where systemd is at hand; the command's path is replaced by one that exists here."""
    unit = tmp_path / UNIT.name
    text = re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text())
    unit.write_text(text)
    linter = shutil.which("systemd-analyze")

    if linter is not None:
        found = subprocess.run(
            [linter, "verify", str(unit)], capture_output=True, text=True, check=False
        )
        assert (found.returncode, found.stderr) == (0, "")


def test_hadolint_finds_no_fault_with_the_image() -> None:
    """Its binary is a Linux one; elsewhere the recipe is still read by the tests below."""
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))

    if sys.platform == "linux":
        assert linter is not None
        found = subprocess.run(
            [linter, str(DOCKERFILE)], capture_output=True, text=True, check=False
        )
        assert (found.returncode, found.stdout) == (0, "")


def test_the_image_runs_without_privileges_and_from_locked_requirements() -> None:
    recipe = DOCKERFILE.read_text()

    assert "USER 65532:65532" in recipe
    assert "--require-hashes -r deploy/requirements/run.txt" in recipe


def test_every_setting_of_the_image_is_one() -> None:
    names = re.findall(r"LOCKGATE_([A-Z_]+)=", DOCKERFILE.read_text())

    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_no_lock_file_names_an_index() -> None:
    for lock in (DEPLOY / "requirements").glob("*.txt"):
        assert "://" not in lock.read_text()
