"""
A gateway is killed with two hundred streams open. What they held is free again within lease and
sweep, every one of them is in the ledger within its bound, and nothing is counted twice.
"""

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.databases import postgres_name, postgres_server
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.system.fleet import BUSY, LEASE, MOVE, SWEEP, Fleet, fleet, secret, used
from tests.system.world import Gateway, bearer, chat, post, until

__all__ = ["postgres_name", "postgres_server"]

STREAMS = 200
HEARD = 3
"""Events of a stream before the upstream falls silent."""
TENANT = "streams"
TOKENS = 1_000_000
BUDGET = 1_000_000_000
"""Nano-dollars."""


@pytest.fixture
def pair(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    postgres_name: str,
) -> Iterator[Fleet]:
    plan = {"budget": "1 USD/month", "tokens": f"{TOKENS}/day", "concurrency": STREAMS}
    with (
        RedisServer() as redis,
        fleet(
            tmp_path_factory.mktemp("crash"),
            {TENANT: plan},
            redis=redis.url,
            database=postgres_server.url_of(postgres_name),
            prices={"input": "3.10", "output": "12.70"},
            count=2,
        ) as gateways,
    ):
        yield gateways


def hold(process: Gateway, tenant: str) -> list[socket.socket]:
    """Streams that are open, each with its first words."""
    address = urlsplit(process.url)
    body = json.dumps(chat(stream=True, max_tokens=50)).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\n"
        f"authorization: Bearer {secret(tenant)}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    callers = []
    for _ in range(STREAMS):
        caller = socket.create_connection((address.hostname, address.port), timeout=60)
        caller.sendall(request)
        callers.append(caller)
    for caller in callers:
        told = b""
        while told.count(b"data: ") < HEARD:
            told += caller.recv(65536)
        assert told.startswith(b"HTTP/1.1 200")
    return callers


def test_what_a_killed_gateway_held_is_free_and_in_the_ledger_within_its_bounds(
    pair: Fleet,
) -> None:
    doomed, other = pair.gateways
    pair.upstream.faults({"kind": "stall", "after": HEARD})
    callers = hold(doomed, TENANT)
    refused = post(other, chat(max_tokens=50), **bearer(secret(TENANT)))
    held = BUDGET - pair.remaining(TENANT, "money", "month")
    time.sleep(LEASE / 2)  # a heartbeat, which tells what was used so far

    doomed.kill()

    died = time.monotonic()
    pair.upstream.faults()
    for caller in callers:
        caller.close()
    assert refused.status_code == 429
    bound = LEASE + SWEEP + BUSY
    until(lambda: pair.remaining(TENANT, "concurrency", "at once") == STREAMS, within=bound)
    assert time.monotonic() - died >= LEASE / 2, "a lease has ended before its time"
    until(lambda: len(pair.rows(TENANT)) == STREAMS, within=MOVE + BUSY)
    rows = pair.rows(TENANT)
    assert all(row.provisional for row in rows)
    assert len({row.request_id for row in rows}) == STREAMS
    spent = used(rows)
    assert 0 < spent.cost < held
    assert pair.remaining(TENANT, "money", "month") == BUDGET - spent.cost
    assert pair.remaining(TENANT, "tokens", "day") == TOKENS - spent.tokens

    answers = [post(other, chat(max_tokens=50), **bearer(secret(TENANT))) for _ in range(3)]

    assert [each.status_code for each in answers] == [200] * 3
    final = pair.rows_when(TENANT, 3)
    assert sum(row.provisional for row in final) == STREAMS
    assert pair.remaining(TENANT, "money", "month") == BUDGET - used(final).cost
