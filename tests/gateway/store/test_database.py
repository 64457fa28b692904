"""The door holds on both databases, through outages, cancellations and mistakes."""

import asyncio
import logging
import multiprocessing
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.contract.errors import StoreUnavailable
from gateway.store.database import Database
from gateway.store.engines import CONNECTIONS
from gateway.store.tables import audit_head
from tests.support.postgres_server import PostgresServer

BRIEF = 1.0
"""Seconds that a test's database may keep its caller waiting."""

LATE = 20.0
"""Seconds after which a wait was not bounded at all."""

MORE = update(audit_head).values(seq=audit_head.c.seq + 1)


async def count(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(audit_head.c.seq))).scalar_one())


async def counted(database: Database) -> int:
    async with database.reading() as connection:
        return await count(connection)


async def add(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(MORE)


def borrowed(database: Database) -> int:
    """Connections that somebody has."""
    assert database._engines is not None
    pools = {database._engines.readers.pool, database._engines.writers.pool}
    return sum(pool.checkedout() for pool in pools)  # type: ignore[attr-defined]


async def test_a_block_that_ends_well_is_committed(database: Database) -> None:
    await add(database)

    assert await counted(database) == 1
    assert database.reachable


async def test_a_block_that_raises_has_changed_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.writing() as connection:
            await connection.execute(MORE)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert await counted(database) == 0
    assert borrowed(database) == 0


async def test_a_reader_can_not_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"):
        async with database.reading() as connection:
            await connection.execute(MORE)

    assert database.reachable


async def test_a_reader_sees_one_state_of_the_database(database: Database) -> None:
    async with database.reading() as connection:
        assert await count(connection) == 0
        await add(database)
        assert await count(connection) == 0

    assert await counted(database) == 1


async def test_writers_do_not_lose_each_others_changes(database: Database) -> None:
    async def read_and_write() -> None:
        async with database.writing() as connection:
            seq = (await connection.execute(select(audit_head.c.seq).with_for_update())).scalar()
            await asyncio.sleep(0)
            await connection.execute(update(audit_head).values(seq=(seq or 0) + 1))

    await asyncio.gather(*(read_and_write() for _ in range(30)))

    assert await counted(database) == 30


async def test_a_constraint_is_told_as_such(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.writing() as connection:
            await connection.execute(insert(audit_head).values(id=1, seq=0, hash=""))

    assert database.reachable
    await add(database)


async def test_a_foreign_key_is_held(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.writing() as connection:
            await connection.execute(
                text(
                    "INSERT INTO attempts (request_id, number, target, provider, model,"
                    " duration_ms, cost) VALUES ('x', 1, '', '', '', 0, 0)"
                )
            )


async def test_a_mistake_is_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError, match="nothing_of_that_name"):
        async with database.reading() as connection:
            await connection.execute(text("SELECT * FROM nothing_of_that_name"))

    assert database.reachable
    assert borrowed(database) == 0


async def test_an_error_of_the_caller_is_its_own(database: Database) -> None:
    with pytest.raises(ConnectionResetError):
        async with database.reading():
            raise ConnectionResetError

    assert database.reachable


async def test_values_are_not_shown_in_errors(database: Database) -> None:
    with pytest.raises(DBAPIError) as error:
        async with database.writing() as connection:
            await connection.execute(
                text("INSERT INTO nothing (x) VALUES (:x)"), {"x": "a-secret-digest"}
            )

    assert "a-secret-digest" not in str(error.value)


async def test_who_finds_no_free_connection_is_told_in_time(database_url: str) -> None:
    async with Database(database_url, timeout=BRIEF) as database:
        held = [database.reading() for _ in range(CONNECTIONS)]
        if database.dialect == "sqlite":
            held.pop()  # one of them is the writer's
        for each in held:
            await each.__aenter__()
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(LATE), database.reading():
                pass
        for each in held:
            await each.__aexit__(None, None, None)

        assert await counted(database) == 0
        assert database.reachable


# Cancellation


@pytest.mark.parametrize("cancels", [1, 2])
async def test_a_cancelled_writer_leaves_all_or_nothing_and_no_connection(
    database: Database, cancels: int
) -> None:
    """Cancelled after so many turns of the loop: at each point on the way, sooner or later."""

    async def write() -> None:
        async with database.writing() as connection:
            await connection.execute(MORE)
            await connection.execute(select(audit_head))
            await connection.execute(update(audit_head).values(hash=audit_head.c.seq))

    finished = 0
    for turns in range(40):
        task = asyncio.ensure_future(write())
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        finished += (await asyncio.gather(task, return_exceptions=True))[0] is None
        async with asyncio.timeout(LATE), database.writing() as connection:
            await connection.execute(select(audit_head).with_for_update())
        async with database.reading() as connection:
            row = (await connection.execute(select(audit_head))).one()
        assert row.seq >= finished
        assert row.hash == (str(row.seq) if row.seq else "0" * 64)
    while database._tasks:  # a second cancellation leaves the giving back to them
        await asyncio.wait_for(asyncio.gather(*database._tasks), LATE)
    assert borrowed(database) == 0


async def test_a_cancelled_reader_leaves_no_old_state_behind(database: Database) -> None:
    async def read() -> None:
        async with database.reading() as connection:
            async for _ in await connection.stream(select(audit_head, text("1"))):
                await connection.execute(select(audit_head))

    kept = []  # who keeps an error keeps the statement alive that it broke off
    for turns in range(30):
        tasks = [asyncio.ensure_future(read()) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        for task in tasks:
            task.cancel()
        kept += await asyncio.gather(*tasks, return_exceptions=True)
        await add(database)

        assert await counted(database) == turns + 1
    assert borrowed(database) == 0


# SQLite


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a" / "b" / "lockgate.db"


async def test_sqlites_file_is_its_owners_alone(file: Path) -> None:
    async with Database(f"sqlite:///{file}") as database, database.writing() as connection:
        await connection.execute(text("CREATE TABLE x (y INTEGER)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        folders = [stat.S_IMODE(folder.stat().st_mode) for folder in (file.parent,)]

    assert modes == {"lockgate.db": 0o600, "lockgate.db-wal": 0o600, "lockgate.db-shm": 0o600}
    assert folders == [0o700]


async def test_a_file_that_can_not_be_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable) as error:
        async with Database(f"sqlite:///{tmp_path}/file/lockgate.db"):
            pass
    assert isinstance(error.value.__cause__, OSError)


async def test_a_writer_in_another_process_is_waited_for_only_so_long(file: Path) -> None:
    async with Database(f"sqlite:///{file}", timeout=BRIEF) as database:
        await database.ping()
        other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(LATE), database.writing():
                pass
        assert not database.reachable
        await database.ping()  # readers don't wait
        other.rollback()
        other.close()
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE x (y INTEGER)"))
        assert database.reachable


def _add(url: str, times: int) -> None:
    async def run() -> None:
        async with Database(url, timeout=LATE) as database:
            for _ in range(times):
                await add(database)

    asyncio.run(run())


async def test_processes_write_to_one_database(database: Database, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(database_url, 20)) for _ in range(3)]
    for process in processes:
        await asyncio.to_thread(process.start)
    for process in processes:
        await asyncio.to_thread(process.join, LATE)
        assert process.exitcode == 0
        process.close()

    assert await counted(database) == 60


# PostgreSQL


@pytest.fixture(scope="module")
def frail() -> Iterator[PostgresServer]:
    """A server of these tests' own, which they may kill."""
    with PostgresServer() as server:
        server.sql("CREATE TABLE audit_head (id int, seq int, hash text)")
        server.sql("CREATE ROLE someone LOGIN PASSWORD 'x'")
        yield server


@pytest.fixture
def server(frail: PostgresServer) -> Iterator[PostgresServer]:
    """The same, running, and with one row."""
    frail.sql("TRUNCATE audit_head; INSERT INTO audit_head VALUES (1, 0, '')")
    yield frail
    frail.kill()
    frail.start()


@pytest.fixture
def brief(server: PostgresServer) -> Database:
    """Waits for little, but for longer than this machine is busy with other tests."""
    return Database(server.url, timeout=BRIEF)


async def test_a_server_that_is_not_there_is_told_and_found_again(server: PostgresServer) -> None:
    async with Database(server.url) as database:
        await add(database)
        server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await counted(database)
            assert not database.reachable
        server.start()

        assert await counted(database) == 1
        assert database.reachable


async def test_a_server_that_restarts_between_two_uses_is_not_noticed(
    server: PostgresServer,
) -> None:
    async with Database(server.url) as database:
        await asyncio.gather(*(add(database) for _ in range(CONNECTIONS)))
        server.restart()

        await asyncio.gather(*(add(database) for _ in range(CONNECTIONS)))
        assert await counted(database) == 2 * CONNECTIONS


async def test_opening_needs_no_server(server: PostgresServer, brief: Database) -> None:
    server.kill()
    async with brief as database:
        server.start()

        assert await counted(database) == 0


@pytest.mark.parametrize("moment", ["before", "within", "on commit", "unconnected"])
@pytest.mark.parametrize("mishap", ["kill", "freeze"])
async def test_a_server_lost_at_any_moment_is_told_in_time(
    server: PostgresServer, brief: Database, mishap: str, moment: str
) -> None:
    async def write(database: Database) -> None:
        async with database.writing() as connection:
            await connection.execute(MORE)
            if moment == "within":
                getattr(server, mishap)()
                await connection.execute(MORE)
            if moment == "on commit":
                getattr(server, mishap)()

    async with brief as database:
        if moment != "unconnected":
            await add(database)
        if moment in {"before", "unconnected"}:
            getattr(server, mishap)()
        async with asyncio.timeout(LATE):
            with pytest.raises(StoreUnavailable):
                await write(database)
            assert not database.reachable
        if mishap == "freeze":
            server.thaw()
        else:
            server.start()
        async with asyncio.timeout(LATE):
            await counted(database)
        assert database.reachable
        async with asyncio.timeout(LATE):  # an attempt that was given up gives back what it gets
            while borrowed(database):  # noqa: ASYNC110 - a count sets no event
                await asyncio.sleep(0.01)


async def test_closing_does_not_wait_for_a_frozen_server(server: PostgresServer) -> None:
    async with asyncio.timeout(LATE):
        async with Database(server.url) as database:
            await asyncio.gather(*(add(database) for _ in range(CONNECTIONS)))
            server.freeze()


async def test_a_caller_cancelled_on_a_frozen_server_does_not_hang(
    server: PostgresServer, brief: Database
) -> None:
    async with asyncio.timeout(LATE), brief as database:
        await add(database)
        server.freeze()
        task = asyncio.ensure_future(add(database))
        await asyncio.sleep(BRIEF / 4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.thaw()

        assert await counted(database) == 1
        assert borrowed(database) == 0


async def test_a_lock_is_waited_for_only_so_long(brief: Database) -> None:
    async with brief as database, database.writing() as holder:
        await holder.execute(MORE)
        with pytest.raises(StoreUnavailable):
            await add(database)


async def test_a_server_that_is_full_is_an_outage(server: PostgresServer) -> None:
    server.sql("CREATE ROLE nobody LOGIN CONNECTION LIMIT 0")
    async with Database(server.url_of("postgres", "nobody")) as database:
        with pytest.raises(StoreUnavailable):
            await database.ping()


def test_it_works_on_the_loop_that_serves(server: PostgresServer) -> None:
    async def use() -> int:
        async with Database(server.url, timeout=BRIEF) as database:
            await add(database)
            server.freeze()
            with pytest.raises(StoreUnavailable):
                await add(database)
            server.thaw()
            return await counted(database)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(use()) in {1, 2}


async def test_a_password_is_shown_nowhere(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = server.url_of("postgres", "someone", "hunter2%2F%3A%40")
    database = Database(url)
    shown = [repr(database), str(database)]
    async with database:
        await database.ping()
        shown += [repr(database._engines)]
        server.kill()
        with pytest.raises(StoreUnavailable) as error:
            await database.ping()
        seen: BaseException | None = error.value
        while seen is not None:
            shown += [str(seen), repr(seen)]
            seen = seen.__cause__ or seen.__context__
    shown.append(caplog.text)

    assert "hunter2" not in "\n".join(shown)
