"""
The peppers: the secrets under which keys are kept as digests.

Production is given one. Development makes its own at the first start and keeps it in a file that
only its owner may read, so that stored keys stay valid from one start to the next.

A pepper is replaced in three steps, each on all replicas before the next: the new one is added to
the older ones, so that every replica can verify what another stores under it; the two change
places; and when no stored key names the old one any more it is taken away.
"""

import os
import secrets
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

FILE = "pepper"

_BLOCK = 64
"""Bytes that SHA-256 works on at once."""

_LABEL = b"the name of a pepper"
"""No secret of a key: those have no spaces, so that a name is nobody's digest."""


class Pepper:
    """
    HMAC-SHA-256 under one secret (RFC 2104).

    Its two halves are keyed once and copied for each message. `hmac.digest` lets go of the
    interpreter's lock meanwhile, and getting it back costs a busy gateway 15 µs a request.
    """

    __slots__ = ("_inner", "_outer", "name")

    def __init__(self, secret: bytes) -> None:
        block = sha256(secret).digest() if len(secret) > _BLOCK else secret
        padded = block.ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))
        self.name = self.mac(_LABEL)[:8].hex()
        """16 hex digits that tell it from others and verify nothing: stored beside digests."""

    def mac(self, message: bytes) -> bytes:
        """The authentication code of a message: 32 bytes."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


class Peppers:
    """The one that keys are stored under now, and older ones that still verify. Immutable."""

    __slots__ = ("all", "current")

    def __init__(self, current: bytes, *older: bytes) -> None:
        self.current = Pepper(current)
        self.all = (self.current, *(Pepper(each) for each in older if each != current))


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
