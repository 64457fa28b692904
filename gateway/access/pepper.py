"""
The pepper: the secret under which keys are kept as digests.

Production is given one. Development makes its own at the first start and keeps it in a file that
only its owner may read, so that stored keys stay valid from one start to the next.
"""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

FILE = "pepper"


def existing_pepper(given: SecretStr, state_dir: Path) -> bytes | None:
    """The pepper that was given, else the one in `state_dir`, None if there is none yet."""
    if given.get_secret_value():
        return given.get_secret_value().encode()
    path = state_dir / FILE
    return path.read_bytes() if path.exists() else None


def load_pepper(given: SecretStr, state_dir: Path) -> bytes:
    """The pepper that was given, else the one in `state_dir`, which is made if there is none."""
    pepper = existing_pepper(given, state_dir)
    if pepper is None:
        state_dir.mkdir(parents=True, exist_ok=True)
        _write(state_dir / FILE, secrets.token_hex(32).encode())
        pepper = (state_dir / FILE).read_bytes()
    return pepper


def _write(path: Path, content: bytes) -> None:
    """Written whole under another name first, so that two starts at once can't read half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another start was first, and its pepper holds
    finally:
        draft.unlink()
