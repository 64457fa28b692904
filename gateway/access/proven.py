"""
Keys that were verified a moment ago, so that the same text is not read and digested again.

What is kept of one is what its text comes to, a public id and a digest, by a keyed digest of the
text: neither a secret nor anything that verifies one elsewhere. It never grows old, because it
grants nothing: whether there is such a key, with that digest, and what it may do is asked of its
source every time.

Hot: `get` runs once a request.
"""

from hashlib import blake2b
from secrets import token_bytes

MOST = 20_000
"""Keys; the one that was verified first is forgotten first."""

Proof = tuple[str, bytes]
"""The public id of a key, and the digest of its secret under the current pepper."""


class Proven:
    """Of one process: the key of its digests is drawn here, and goes nowhere."""

    __slots__ = ("_keyed", "_most", "_proofs")

    def __init__(self, *, most: int = MOST) -> None:
        self._keyed = blake2b(key=token_bytes(64), digest_size=32)
        self._most = most
        self._proofs: dict[bytes, Proof] = {}

    def __len__(self) -> int:
        return len(self._proofs)

    def get(self, text: str) -> Proof | None:
        """What a text came to when it was verified, None if it was not."""
        keyed = self._keyed.copy()
        keyed.update(text.encode("latin-1"))
        return self._proofs.get(keyed.digest())

    def put(self, text: str, proof: Proof) -> None:
        """Keep what a text has come to."""
        keyed = self._keyed.copy()
        keyed.update(text.encode("latin-1"))
        self._proofs[keyed.digest()] = proof
        if len(self._proofs) > self._most:
            del self._proofs[next(iter(self._proofs))]
