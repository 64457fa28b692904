"""Stores that are out of reach, or not ours to use, are told of and keep nobody else waiting."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.migrate import migrate
from gateway.store.schema import SchemaRefused
from tests.support.application import CHAT, CHAT_PATH, built, client, running
from tests.support.databases import postgres_server as postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.simulator import running_simulator


@pytest.fixture
def empty(postgres_server: PostgresServer) -> Iterator[str]:
    """A database without a schema."""
    name = postgres_server.new_database()
    yield postgres_server.url_of(name)
    postgres_server.drop_database(name)


def test_a_postgresql_without_the_schema_is_refused_with_what_to_do(
    tmp_path: Path, empty: str
) -> None:
    gateway = built(tmp_path, database_url=empty)

    with pytest.raises(SchemaRefused, match="run `lockgate migrate`") as refused:
        gateway.prepare()

    assert refused.value.exit_code == 2
    assert len(str(refused.value).splitlines()) == 1


def test_a_postgresql_that_was_migrated_is_served_from(tmp_path: Path, empty: str) -> None:
    asyncio.run(migrate(empty))

    built(tmp_path, database_url=empty).prepare()


def test_a_sqlite_file_migrates_itself(tmp_path: Path) -> None:
    built(tmp_path).prepare()

    assert (tmp_path / "lockgate.db").exists()


async def test_a_database_that_comes_late_is_used_from_then_on(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        await asyncio.to_thread(server.start)
        name = await asyncio.to_thread(server.new_database)
        url = server.url_of(name)
        await migrate(url)
        await asyncio.to_thread(server.kill)
        async with (
            running_simulator(answer_tokens=2) as sim,
            running(tmp_path, sim=sim.url, database_url=url, log_level="error") as gateway,
            client(gateway) as http,
        ):
            ready = await http.get("/health/ready")
            assert (ready.status_code, ready.json()["message"]) == (503, "waiting for database")
            # Keys of the file, and limits in this process, need no database.
            assert (await http.post(CHAT_PATH, json=CHAT)).status_code == 200

            await asyncio.to_thread(server.start)
            async with asyncio.timeout(20):
                while (await http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                while not (await http.get("/v1/usage")).json().get("data"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(server.close)
