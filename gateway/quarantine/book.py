"""
Where kills are written down: by tenant, by what the request was, by the backend that died.

What stays true: a tenant never has more than `MOST` kills in a book, and the oldest make way; a
kill counts for one window of time from when it was last seen.
"""

from typing import Protocol

MOST = 256
"""Kills that are remembered of one tenant, each of one request and one backend."""


class Flag(Protocol):
    """Whether a tenant has killed anything lately: asked for, and perhaps not yet known."""

    async def is_up(self) -> bool:
        """The answer. It need not be awaited."""
        ...


class Book(Protocol):
    """Kills, of this process or of all. Out of reach it answers from what this process knows."""

    def flag(self, tenant: str) -> Flag | None:
        """
        Ask whether a tenant has any kills at all, in the round trip that is about to begin; None
        where it is known at once that it has not.
        """
        ...

    async def kills(self, tenant: str, fingerprint: str) -> int:
        """How many backends such a request has killed."""
        ...

    async def add(self, tenant: str, fingerprint: str, backend: str) -> int:
        """Write down one more; how many backends it makes. The same backend counts once."""
        ...

    async def acquit(self, tenant: str, fingerprint: str) -> None:
        """Such a request was answered: what seemed to be its kills were not."""
        ...
