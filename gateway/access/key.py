"""
A virtual API key: `lg_<12 public id>_<32 secret><6 checksum>`, all base62.

The checksum is the CRC-32 of everything before it, so that a mistyped key is told from a real
one without a look-up, by scanners too. What is kept of a key is its stored form,
`<public id>:<64 hex>`, the HMAC-SHA-256 of its secret under a pepper: a copy of the stored forms
verifies nothing without the pepper, and is no credential with it.

Hot: `parse` and `digest` run once a request.
"""

import re
import secrets
import zlib
from collections.abc import Sequence
from typing import NoReturn, Protocol

from .pepper import Pepper

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 32, 6

_FORM = r"lg_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}"

SCANNER = rf"\b{_FORM}\b"
"""A regular expression that finds keys in text; the checksum then tells real ones."""

_LENGTH = len("lg__") + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH
_WHOLE = re.compile(_FORM)
_STORED = re.compile(r"([0-9A-Za-z]{12}):([0-9a-f]{64})")
# Two digits at a time: three look-ups instead of six.
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_BASE = len(_PAIRS)


class Chooser(Protocol):
    """Where randomness comes from: the module `secrets`, or `random.Random` in a test."""

    def choice(self, seq: Sequence[str], /) -> str:
        """One of `seq`, each as likely."""
        ...


class Key:
    """A key whose checksum is right. Its secret leaves it by `reveal` only."""

    __slots__ = ("_secret", "public_id")

    def __init__(self, public_id: str, secret: str) -> None:
        self.public_id = public_id
        self._secret = secret

    @classmethod
    def generate(cls, rng: Chooser = secrets) -> "Key":
        """A new key, of 190 secret bits where `rng` is the default."""
        drawn = "".join(rng.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
        return cls(drawn[:ID_LENGTH], drawn[ID_LENGTH:])

    @classmethod
    def parse(cls, text: str) -> "Key | None":
        """Read a key. None if it is malformed or its checksum wrong; bounded work, no I/O."""
        if len(text) != _LENGTH or _WHOLE.fullmatch(text) is None:
            return None
        if checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
            return None
        return cls(text[3:15], text[16:-CHECKSUM_LENGTH])

    def reveal(self) -> str:
        """The whole key, for the one moment in which it is shown."""
        unsigned = f"lg_{self.public_id}_{self._secret}"
        return unsigned + checksum(unsigned)

    def digest(self, pepper: Pepper) -> bytes:
        """HMAC-SHA-256 of the secret: 32 bytes."""
        return pepper.mac(self._secret.encode())

    def stored(self, pepper: bytes) -> str:
        """The form that `key_hash` takes: `<public id>:<64 hex>`."""
        return f"{self.public_id}:{self.digest(Pepper(pepper)).hex()}"

    def __repr__(self) -> str:
        return f"Key(lg_{self.public_id}_***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


def checksum(unsigned: str) -> str:
    """CRC-32 of `lg_<id>_<secret>` in six base62 digits, the most significant first."""
    number = zlib.crc32(unsigned.encode("ascii"))
    high, low = divmod(number, _BASE)
    return _PAIRS[high // _BASE] + _PAIRS[high % _BASE] + _PAIRS[low]


def read_stored(text: str) -> tuple[str, bytes] | None:
    """Public id and digest of a stored form, None if it is malformed."""
    found = _STORED.fullmatch(text)
    return (found[1], bytes.fromhex(found[2])) if found else None
