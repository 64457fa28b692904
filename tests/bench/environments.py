"""Programs that are measured or measure, from the Python index, in environments of their own."""

import subprocess
import venv
from pathlib import Path

_HERE = Path(__file__).parent
FOLDER = _HERE.parent.parent / ".bench"
"""Where they are kept; nothing in it is in the repository."""


class NotInstalled(Exception):
    """What is missing can not be had here; the text says why."""


def environment(name: str) -> Path:
    """
    The folder of the commands that `requirements/<name>.txt` installs.

    It is made when it is first asked for, and anew when the file has changed.

    Raises:
        NotInstalled: it could not be.
    """
    wanted = _HERE / "requirements" / f"{name}.txt"
    folder = FOLDER / name
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        print(f"Installing {pinned(name)} into {folder.relative_to(FOLDER.parent)} ...")
        venv.create(folder, clear=True, with_pip=True)
        _install(folder / "bin" / "python", wanted)
        installed.write_bytes(wanted.read_bytes())
    return folder / "bin"


def pinned(name: str) -> str:
    """What `requirements/<name>.txt` asks for by name, and in which versions."""
    wanted = _HERE / "requirements" / f"{name}.txt"
    lines = (line.split()[0] for line in wanted.read_text().splitlines() if line.strip())
    return ", ".join(line.replace("==", " ") for line in lines if "==" in line)


def _install(python: Path, wanted: Path) -> None:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--require-hashes", "-r", wanted], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise NotInstalled(done.stderr.strip().splitlines()[-1])
