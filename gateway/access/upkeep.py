"""
What is written of stored keys: when they were last used, and digests under the current pepper.

Collected in memory, one of each for a key, and written once a minute and at the end. No request
waits for it, and what could not be written is tried again with the next.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, TypeVar

from ..contract.errors import StoreUnavailable

EVERY = 60.0
"""Seconds."""

MOST = 100_000
"""Keys of which something waits to be written; of further ones nothing is kept."""

PORTION = 1_000
"""Keys that are written in one transaction, which others may wait for."""

Replacement = tuple[bytes, bytes, str]
"""A key's digest, the one for its place, and the name of the pepper that that is under."""

T = TypeVar("T")


class Writes(Protocol):
    """Where it is written."""

    async def write(
        self, used: Mapping[str, datetime], replaced: Mapping[str, Replacement]
    ) -> None:
        """
        Both by public id.

        Raises:
            StoreUnavailable: nobody knows what was written; it may be written again.
        """
        ...


class Upkeep:
    """Collects at once, writes in the background while `run` runs."""

    def __init__(self, store: Writes, *, every: float = EVERY, most: int = MOST) -> None:
        self._store = store
        self._every = every
        self._most = most
        self._used: dict[str, datetime] = {}
        self._replaced: dict[str, Replacement] = {}

    def used(self, public_id: str, at: datetime) -> None:
        """A key was used."""
        if public_id in self._used or len(self._used) < self._most:
            self._used[public_id] = at

    def replace(self, public_id: str, replacement: Replacement) -> None:
        """A key was verified under an older pepper."""
        if public_id in self._replaced or len(self._replaced) < self._most:
            self._replaced[public_id] = replacement

    async def write(self) -> None:
        """Write what there is; what could not be written is kept."""
        used, self._used = self._used, {}
        replaced, self._replaced = self._replaced, {}
        ids = [*{**used, **replaced}]
        for start in range(0, len(ids), PORTION):
            portion = ids[start : start + PORTION]
            try:
                await self._store.write(_of(portion, used), _of(portion, replaced))
            except StoreUnavailable:
                self._put_back(_of(ids[start:], used), _of(ids[start:], replaced))
                return

    async def run(self) -> None:
        """Write again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(self._every)
            await self.write()

    def _put_back(self, used: dict[str, datetime], replaced: dict[str, Replacement]) -> None:
        for public_id, at in used.items():
            self.used(public_id, self._used.get(public_id, at))
        for public_id, replacement in replaced.items():
            self.replace(public_id, self._replaced.get(public_id, replacement))


def _of(public_ids: list[str], values: Mapping[str, T]) -> dict[str, T]:
    return {each: values[each] for each in public_ids if each in values}
