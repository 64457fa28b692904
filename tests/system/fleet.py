"""
Several gateways on one Redis and one PostgreSQL before one simulator, and what all of them have
counted: the ledger's rows, the counters and the simulator's own numbers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from gateway.store.database import Database
from gateway.store.ledger import Chosen, rows
from gateway.store.ledger_rows import Row
from tests.system.world import (
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    gateway,
    key,
    settings,
    simulator,
    until,
)

LEASE, SWEEP, MOVE = 3.0, 0.5, 0.2
"""Seconds."""

BUSY = 5.0
"""Seconds that a machine with other work may take on top of what is promised."""

SLOW = 20.0
"""Seconds for what is not promised any time."""


class Used(NamedTuple):
    """Requests, tokens and nano-dollars."""

    requests: int
    tokens: int
    cost: int


@dataclass
class Fleet:
    """Gateways that share everything. The key of a tenant follows from its name."""

    gateways: list[Gateway]
    upstream: Simulator
    database: str
    start: Callable[[], Gateway]
    """One more gateway, or one in the place of another."""

    def rows(self, tenant: str) -> list[Row]:
        """The ledger's rows of a tenant."""
        return [row for row in asyncio.run(_rows(self.database)) if row.tenant == tenant]

    def rows_when(self, tenant: str, count: int, *, within: float = SLOW) -> list[Row]:
        """The same, as soon as there are so many final ones."""
        until(lambda: sum(not row.provisional for row in self.rows(tenant)) >= count, within=within)
        return self.rows(tenant)

    def remaining(self, tenant: str, measure: str, per: str, *, by: int = -1) -> int:
        """What one gateway tells the tenant's key that it has left."""
        url = f"{self.gateways[by].url}/v1/limits"
        told = ask("GET", url, headers=bearer(secret(tenant))).raise_for_status().json()
        [limit] = (
            each for each in told["data"] if (each["measure"], each["per"]) == (measure, per)
        )
        left: int = limit["remaining"]
        return left

    def produced(self) -> Used:
        """The simulator's own count of what it was asked for; nothing was spent there."""
        state = self.upstream.state()
        done = sum(state["by_finish"].values())
        return Used(done, state["prompt_tokens"] + state["completion_tokens"], 0)


def secret(tenant: str) -> str:
    """The one key of a tenant."""
    return key(sum(tenant.encode()) * 1009 + len(tenant))


def used(rows: Sequence[Row]) -> Used:
    """What rows amount to."""
    tokens = sum(row.prompt_tokens + row.completion_tokens for row in rows)
    return Used(len(rows), tokens, sum(row.cost for row in rows))


@contextmanager
def fleet(
    folder: Path,
    plans: Json,
    *,
    redis: str,
    database: str,
    prices: Json,
    count: int = 3,
    **more: Any,
) -> Iterator[Fleet]:
    """
    So many gateways. Each plan has a tenant of its name, `prices` are of the one target, and the
    rest is settings.
    """
    (folder / "prices.yaml").write_text(yaml.safe_dump({"targets": {"sim/demo-model": prices}}))
    with ExitStack() as stack:
        upstream = stack.enter_context(simulator(folder / "simulator", "--answer-tokens", "40"))
        config = _config(folder, upstream, plans, **more)

        def start() -> Gateway:
            place = folder / f"gateway-{len(made)}"
            variables = {"LOCKGATE_REDIS_URL": redis, "LOCKGATE_DATABASE_URL": database}
            made.append(stack.enter_context(gateway(place, config, **variables)))
            return made[-1]

        made: list[Gateway] = []
        for _ in range(count):
            start()
        yield Fleet(made, upstream, database, start)


def _config(folder: Path, upstream: Simulator, plans: Json, **more: Any) -> Json:
    limits = {"lease": LEASE, "sweep": SWEEP, "deadline": "5s", **more.pop("limits", {})}
    config = settings(
        {"sim": upstream.url},
        limits=limits,
        ledger={"move": MOVE, "flush": MOVE, **more.pop("ledger", {})},
        pricing={"file": str(folder / "prices.yaml")},
        **more,
    )
    config["plans"] |= plans
    config["tenants"] |= {
        name: {"plan": name, "models": ["*"], "keys": [{"name": "k", "key": secret(name)}]}
        for name in plans
    }
    return config


def rush(fleet: Fleet, tenant: str, bodies: Sequence[Json]) -> list[httpx.Response]:
    """A caller for each body, all at once, at one gateway after the other; what they were told."""
    return asyncio.run(_rush(fleet, tenant, bodies))


async def _rush(fleet: Fleet, tenant: str, bodies: Sequence[Json]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        headers=bearer(secret(tenant)), verify=False, timeout=60, limits=limits
    ) as client:
        urls = [f"{each.url}/v1/chat/completions" for each in fleet.gateways]
        calls = (
            client.post(urls[number % len(urls)], json=body) for number, body in enumerate(bodies)
        )
        return await asyncio.gather(*calls)


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    """How many were told what."""
    return Counter(each.status_code for each in answers)


async def _rows(url: str) -> list[Row]:
    async with Database(url) as database, database.reading() as connection:
        return await rows(connection, Chosen(), limit=100_000)
