"""
Which of the changes are revocations.

A change only says that something is different. Those whom it concerns are looked at again in the
background, and who is gone, suspended, disabled or expired is told to whoever runs requests.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

from ..contract.errors import StoreUnavailable
from .holders import Holders

PAUSE = 0.5
"""Seconds before the database is asked again that did not answer."""

Ended = tuple[frozenset[str], frozenset[tuple[str, str]], frozenset[str]]


class States(Protocol):
    """Where it is known who has ended."""

    async def ended(
        self,
        tenants: Collection[str],
        projects: Collection[tuple[str, str]],
        keys: Collection[str],
        now: datetime,
    ) -> Ended:
        """
        Those of them that no caller may use any more.

        Raises:
            StoreUnavailable: nobody knows.
        """
        ...


class Revocations:
    """Collects whom changes concern; `run` finds and tells who was revoked."""

    def __init__(self, store: States, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._suspects = Holders()
        self._some = asyncio.Event()
        self._listeners: list[Callable[[Holders], None]] = []

    def subscribe(self, listener: Callable[[Holders], None]) -> None:
        """Have it called with those who were revoked, perhaps more than once. It may not raise."""
        self._listeners.append(listener)

    def suspect(self, holders: Holders) -> None:
        """Something of theirs has changed."""
        self._suspects |= holders
        self._some.set()

    async def run(self) -> None:
        """Look at them as they come, until it is cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            suspects, self._suspects = self._suspects, Holders()
            try:
                ended = await self._store.ended(
                    suspects.tenants, suspects.projects, suspects.keys, self._now()
                )
            except StoreUnavailable:
                self.suspect(suspects)
                await asyncio.sleep(PAUSE)
                continue
            if revoked := Holders(*ended):
                for tell in self._listeners:
                    tell(revoked)
