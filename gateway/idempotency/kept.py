"""An answer that can be given again: its status, some of its headers, and its bytes."""

from dataclasses import dataclass, field
from typing import Self

import orjson

OVERHEAD = 1024
"""Bytes that an answer takes beside its own."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`request_id` is of the request that it was the answer to."""

    request_id: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return OVERHEAD + len(self.body) + sum(len(n) + len(v) for n, v in self.headers)

    def encode(self) -> bytes:
        """One line of JSON, and then the body."""
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self.headers]
        return orjson.dumps((self.request_id, self.status, headers)) + b"\n" + self.body

    @classmethod
    def decode(cls, stored: bytes) -> Self:
        """What `encode` made."""
        head, _, body = stored.partition(b"\n")
        request_id, status, headers = orjson.loads(head)
        pairs = tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in headers)
        return cls(request_id, status, pairs, body)
