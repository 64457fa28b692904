import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.feed import Changed, Changes, Feed

LOG = AuditLog.of(b"a secret of the test's own")


def _event(name: str) -> Event:
    return Event(actor="a", action="update", kind="key", object=name, tenant="acme")


async def _change(database: Database, *names: str) -> None:
    async with database.writing() as connection:
        for name in names:
            await LOG.append(connection, _event(name))


class Copy:
    """What a subscriber has been told."""

    def __init__(self, feed: Feed) -> None:
        self.told: list[Changes] = []
        self.more = asyncio.Event()
        feed.subscribe(self._take)

    def _take(self, changes: Changes) -> None:
        self.told.append(changes)
        self.more.set()

    @property
    def names(self) -> set[str]:
        return {change.object for changes in self.told for change in changes}

    async def has(self, *names: str) -> None:
        while not {*names} <= self.names:
            await asyncio.wait_for(self.more.wait(), 10)
            self.more.clear()


@pytest.fixture
async def feed(database: Database) -> AsyncIterator[Feed]:
    async with Feed(database, every=0.01) as opened:
        yield opened


async def test_a_change_is_told_once(database: Database, feed: Feed) -> None:
    copy = Copy(feed)

    await _change(database, "k1", "k2")
    await copy.has("k1")
    await feed.poll()

    assert copy.told == [frozenset({Changed("key", "k1", "acme"), Changed("key", "k2", "acme")})]
