"""A copy that follows the feed misses no change, whoever makes it and whatever is lost between."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.contract.errors import StoreUnavailable
from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database
from gateway.store.feed import BATCH, Changed, Changes, Feed
from gateway.store.migrate import migrate
from tests.support.postgres_server import PostgresServer
from tests.support.simulator import eventually

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


async def test_who_opens_a_feed_hears_nothing_of_what_was_before(database: Database) -> None:
    await _change(database, "old")
    async with Feed(database, every=0.01) as feed:
        copy = Copy(feed)
        await feed.poll()
        await _change(database, "new")
        await copy.has("new")

    assert copy.names == {"new"}


async def test_many_changes_come_in_bounded_batches(database: Database, feed: Feed) -> None:
    copy = Copy(feed)

    await _change(database, *(f"k{number}" for number in range(BATCH + 10)))
    await feed.poll()

    assert len(copy.names) == BATCH + 10
    assert max(len(changes) for changes in copy.told) <= BATCH


async def test_an_object_that_changed_twice_is_told_once_a_batch(
    database: Database, feed: Feed
) -> None:
    copy = Copy(feed)

    await _change(database, "k", "k", "k")
    await feed.poll()

    assert copy.told == [frozenset({Changed("key", "k", "acme")})]


async def test_what_is_not_committed_is_not_told(database: Database, feed: Feed) -> None:
    copy = Copy(feed)
    async with database.writing() as connection:
        await LOG.append(connection, _event("k"))
        await feed.poll()
        assert copy.told == []
    await feed.poll()

    assert copy.names == {"k"}


async def test_a_subscriber_that_fails_stops_no_other(
    database: Database, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    feed.subscribe(lambda _: {}["missing"])
    copy = Copy(feed)

    await _change(database, "k1")
    await copy.has("k1")
    await _change(database, "k2")
    await copy.has("k2")

    assert "KeyError" in caplog.text


async def test_staleness_grows_between_good_polls(database: Database) -> None:
    now = 100.0
    async with Feed(database, every=1000.0, clock=lambda: now) as feed:
        now += 7
        assert feed.stale_for() == 7
        await feed.poll()
        assert feed.stale_for() == 0


async def test_an_older_database_that_is_restored_makes_everything_new(
    database: Database, feed: Feed
) -> None:
    await _change(database, "k1", "k2")
    copy = Copy(feed)
    await feed.poll()
    feed._seen = 99  # as if more had been there before the restoring

    await feed.poll()

    assert copy.names == {"k1", "k2"}


async def test_a_closed_feed_polls_no_more(database: Database) -> None:
    async with Feed(database, every=0.001) as feed:
        copy = Copy(feed)
    await _change(database, "k")
    await asyncio.sleep(0.02)

    assert copy.told == []


async def test_a_feed_that_is_broken_says_so_at_its_end(database: Database) -> None:
    async def break_it() -> None:
        async with Feed(database, every=0.001) as feed:
            async with database.writing() as connection:
                await connection.execute(text("DROP TABLE audit_head"))
            assert feed._task is not None
            await asyncio.wait([feed._task], timeout=10)

    with pytest.raises(DBAPIError, match="audit_head"):
        await break_it()


WRITER = """
import asyncio, sys
from gateway.store.audit import AuditLog, Event
from gateway.store.database import Database

async def main():
    log = AuditLog.of(b"a secret of the test's own")
    async with Database(sys.argv[1], timeout=60) as database:
        for number in range(int(sys.argv[3])):
            async with database.writing() as connection:
                name = f"{sys.argv[2]}{number}"
                await log.append(connection, Event("a", "update", "key", name, "acme"))

asyncio.run(main())
"""


async def test_other_processes_changes_are_told_in_full(
    database: Database, database_url: str, feed: Feed
) -> None:
    copy = Copy(feed)
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, database_url, name, "25")
        for name in "ab"
    ]

    await copy.has(*(f"{name}{number}" for name in "ab" for number in range(25)))

    assert [await process.wait() for process in processes] == [0, 0]
    assert sum(len(changes) for changes in copy.told) == 50  # each once


# Outages


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that may be killed."""
    with PostgresServer() as server:
        yield server


async def test_no_change_is_lost_over_a_server_that_is_killed(
    server: PostgresServer,
) -> None:
    await migrate(server.url)
    names = []
    async with (
        Database(server.url, timeout=2.0) as ours,
        Database(server.url) as others,
        Feed(ours, every=0.01) as feed,
    ):
        copy = Copy(feed)
        for outage in range(3):
            names += [f"before {outage}", f"after {outage}"]
            await _change(others, f"before {outage}")
            server.kill()
            with pytest.raises(StoreUnavailable):
                await feed.poll()
            server.start()
            await _change(others, f"after {outage}")
            await copy.has(*names)
    assert copy.names == set(names)


async def test_an_outage_is_logged_once_and_its_end_too(server: PostgresServer) -> None:
    await migrate(server.url)
    async with Database(server.url, timeout=2.0) as database:
        with structlog.testing.capture_logs() as lines:
            async with Feed(database, every=0.01) as feed:
                server.kill()
                await eventually(lambda: bool(lines), within=30)
                await asyncio.sleep(0.1)
                server.start()
                await eventually(lambda: len(lines) > 1, within=30)
                assert feed.stale_for() < 60

    assert [line["event"] for line in lines] == ["store_unreachable", "store_reachable"]


async def test_a_feed_opened_in_an_outage_tells_of_everything_afterwards(
    server: PostgresServer,
) -> None:
    await migrate(server.url)
    async with Database(server.url, timeout=2.0) as database:
        await _change(database, "k1", "k2")
        server.kill()
        async with Feed(database, every=0.01) as feed:
            copy = Copy(feed)
            server.start()
            await copy.has("k1", "k2")


async def test_a_feed_that_is_hastened_tells_before_it_is_time(database: Database) -> None:
    async with Feed(database, every=3600) as feed:
        copy = Copy(feed)
        for name in ("first", "second"):
            await _change(database, name)
            feed.hasten()
            await copy.has(name)
