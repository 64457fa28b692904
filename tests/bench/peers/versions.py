"""Which versions are measured: as they are pinned, or as a program says itself."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import gateway
from tests.support.debian import command

_HERE = Path(__file__).parent


def ours() -> str:
    """The gateway's own."""
    return gateway.__version__


def of(requirements: str, package: str) -> Callable[[], str]:
    """That of a package from the Python index, by the file that pins it."""

    def version() -> str:
        text = (_HERE.parent / "requirements" / f"{requirements}.txt").read_text()
        found = re.search(rf"^{package}==(\S+)", text, re.MULTILINE)
        return found[1] if found else "?"

    return version


def portkey() -> str:
    """That of the package from npm."""
    wanted = json.loads((_HERE / "portkey" / "package.json").read_text())
    version: str = wanted["dependencies"]["@portkey-ai/gateway"]
    return version


def nginx() -> str:
    """The system's."""
    done = subprocess.run([command("nginx"), "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().rpartition("/")[2]
