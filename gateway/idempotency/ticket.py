"""
What makes two requests the same one: who sent them, where to, under which key, with which body.

Everything is hashed: what a client says never becomes part of a name, and nobody who reads the
names learns a key or a prompt. Tenants and keys never meet, whatever they send.

Hot: once for a request that carries an idempotency key.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self


@dataclass(frozen=True, slots=True)
class Ticket:
    """`name` tells it from all others, in hexadecimal; `body` is the digest of what was asked."""

    tenant: str
    name: str
    body: str

    @classmethod
    def of(cls, caller: tuple[str, str], path: str, key: bytes, content: bytes) -> Self:
        """`caller` is the tenant and the id of its key; `key` has no NUL in it."""
        tenant, key_id = caller
        name = sha256(b"\0".join((tenant.encode(), key_id.encode(), path.encode(), key)))
        body = sha256(name.digest())  # two names never have the same digest of a body
        body.update(content)
        return cls(tenant, name.hexdigest(), body.hexdigest())
