"""
The two implementations as the proofs drive them, and what each has stored, told alike.
"""

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import redis

from gateway.limits.counters import PeriodCounter, PlaceCounter, WindowCounter
from gateway.limits.keys import ledger_key, shard_keys, shard_of, tenant_prefix
from gateway.limits.limiter import Books, Limiter, Spent
from gateway.limits.memory import MemoryLimiter
from gateway.limits.model import NOTHING, Ask, Calendar, Limit, Reservation
from gateway.limits.redis import RedisLimiter
from gateway.limits.scripts import Ending
from gateway.limits.settings import LimitsSettings
from gateway.redis import Redis, open_redis
from tests.support.ticker import Ticker

GATEWAYS = 2
"""Processes that share a store."""

SWEEP = 0.05
"""Seconds."""

MARCH = 3
"""The scripts count months from March of the year 0, the process from January."""


@dataclass
class Stored:
    """What a limiter keeps of one tenant, by the names of its limits."""

    buckets: dict[str, dict[int, int]] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    settled: dict[tuple[str, int], int] = field(default_factory=dict)
    reserved: dict[tuple[str, int], int] = field(default_factory=dict)
    places: dict[str, dict[str, float]] = field(default_factory=dict)
    """Holders and when their leases end; in process they have no names and do not end."""
    open: dict[str, str] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row as the ledger gets it; of a provisional one what was charged is told beside it."""

    final: bool
    text: str
    tokens: int = 0
    cost: int = 0


class Side(Protocol):
    """An implementation under test. Its limiters ask `spent` for what the ledger says."""

    leased: bool
    spent: Spent | None
    limiters: Sequence[Limiter]

    async def open(self, lease: int) -> None:
        """Begin with nothing; `lease` is ms."""
        ...

    async def close(self) -> None: ...

    async def stored(self, limits: Mapping[str, Sequence[Limit]]) -> dict[str, Stored]:
        """By tenant. `open` has the reservations of all of them."""
        ...

    async def reserve_again(self, gateway: int, held: Reservation) -> None:
        """Ask once more for what is held already."""
        ...

    def rows(self) -> list[Row]:
        """All that the ledger was told, in that order."""
        ...


class InProcess:
    """One gateway without a store: nothing is leased, and its death ends everything."""

    leased = False

    def __init__(self, ticker: Ticker) -> None:
        self.spent: Spent | None = None
        self._ticker = ticker
        self._rows: list[bytes] = []
        self.limiters: list[MemoryLimiter] = []

    async def open(self, lease: int) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process, which remembers nothing."""
        books = Books(spent=self.spent, outbox=self._rows.append)
        self.limiters = [MemoryLimiter(clock=self._ticker.ns, wall=self._ticker.ns, books=books)]

    def rows(self) -> list[Row]:
        return [Row(final=True, text=each.decode()) for each in self._rows]

    async def close(self) -> None:
        """Nothing is open."""

    async def reserve_again(self, gateway: int, held: Reservation) -> None:
        ask = Ask(held.amounts)
        await self.limiters[0].reserve(held.request_id, held.tenant, held.limits, ask)

    async def stored(self, limits: Mapping[str, Sequence[Limit]]) -> dict[str, Stored]:
        return {tenant: self._stored(tenant, each) for tenant, each in limits.items()}

    def _stored(self, tenant: str, limits: Sequence[Limit]) -> Stored:
        memory = self.limiters[0]
        stored = Stored(open=dict.fromkeys(memory._open, ""))
        for limit in limits:
            match memory._counters.get((tenant, limit.name)):
                case WindowCounter() as window:
                    stored.buckets[limit.name] = dict(window._amounts)
                    stored.sums[limit.name] = window._sum
                case PeriodCounter() as counter:
                    for period, amount in counter._settled.items():
                        stored.settled[limit.name, period] = amount
                    for period, amount in counter._reserved.items():
                        stored.reserved[limit.name, period] = amount
                case PlaceCounter() as counter:
                    holders = map(str, range(counter._taken))
                    stored.places[limit.name] = dict.fromkeys(holders, float("inf"))
        return stored


class OnRedis:
    """Several gateways on one server, each with a connection and leases of its own."""

    leased = True

    def __init__(self, url: str, ticker: Ticker, tenant: str) -> None:
        self.spent: Spent | None = None
        self._url = url
        self._tenant = tenant
        self._moved: list[Row] = []
        self._ticker = ticker
        self._clients: list[Redis] = []
        self.limiters: list[RedisLimiter] = []
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    async def open(self, lease: int) -> None:
        self.raw.flushall()
        self._settings = LimitsSettings(lease=lease / 1000, sweep=SWEEP, on_store_error="refuse")
        self.limiters = [await to_thread(self._limiter) for _ in range(GATEWAYS)]

    def _limiter(self) -> RedisLimiter:  # it reads files, so the loop must not wait for it
        client = open_redis(self._url, deadline=30)
        self._clients.append(client)
        return RedisLimiter(
            client,
            self._settings,
            books=Books(spent=self.spent, outbox=_refused),
            clock=self._ticker.seconds,
            now=self._ticker,
            random=Random(1),
        )

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        self.raw.close()

    async def crash(self, gateway: int) -> None:
        """Another process stands in the place of one that has died with all that it held."""
        self.limiters[gateway] = await to_thread(self._limiter)

    async def renew(self, gateway: int, *, again: bool) -> None:
        """One pass of its heartbeat; `again` as after an outage."""
        limiter = self.limiters[gateway]
        limiter._leases._connections = limiter._scripts.redis.connections
        limiter._contact.in_doubt = again
        await limiter._leases.renew()

    def lose(self) -> None:
        """The server loses all it has, after its rows were moved to the ledger."""
        self._moved = self.rows()
        self.raw.flushall()

    async def reserve_again(self, gateway: int, held: Reservation) -> None:
        await self.limiters[gateway]._scripts.reserve(held, Ask(held.amounts), 0)

    async def lapsed(self, gateway: int, tenant: str) -> list[tuple[str, bytes]]:
        """What a sweeper finds, which may be old news when it acts on it."""
        _, lapsed = await self.limiters[gateway]._scripts.swept(shard_of(tenant))
        return lapsed

    async def expire(self, gateway: int, tenant: str, request_id: str, stored: bytes) -> int:
        scripts = self.limiters[gateway]._scripts
        return await scripts.expire(shard_of(tenant), request_id, stored)

    async def reserve_unheard(
        self, gateway: int, reservation: Reservation, ask: Ask, *, overtaken: bool
    ) -> None:
        """A reserve whose answer never came; its cancellation may even have come before it."""
        limiter = self.limiters[gateway]
        if overtaken:
            await self._cancel(limiter, reservation)
        await limiter._scripts.reserve(reservation, ask, ask.cap)
        if not overtaken:
            await self._cancel(limiter, reservation)

    async def _cancel(self, limiter: RedisLimiter, reservation: Reservation) -> None:
        limiter._unfinished.later(Ending(reservation, "C", NOTHING))
        await limiter._unfinished.repeat()

    def rows(self) -> list[Row]:
        stream = self.raw.xrange(ledger_key(shard_of(self._tenant)))
        return self._moved + [
            Row(row["how"] == "S", row["row"], int(row.get("tokens", 0)), int(row.get("cost", 0)))
            for _, row in stream
        ]

    def held(self, gateway: int) -> list[str]:
        """Whose leases it renews."""
        return list(self.limiters[gateway]._holdings.open)

    async def stored(self, limits: Mapping[str, Sequence[Limit]]) -> dict[str, Stored]:
        pipeline = self.raw.pipeline(transaction=False)
        rsv, leases, *_ = shard_keys(shard_of(next(iter(limits))))
        pipeline.hgetall(rsv)
        pipeline.zrange(leases, 0, -1, withscores=True)
        for tenant, each in limits.items():
            prefix = tenant_prefix(tenant, shard_of(tenant))
            for limit in each:
                if limit.window.kind == "c":
                    pipeline.zrange(prefix + limit.name, 0, -1, withscores=True)
                else:
                    pipeline.hgetall(prefix + limit.name)
        reservations, ends, *told = pipeline.execute()
        stored = {tenant: Stored(open=reservations, leases=dict(ends)) for tenant in limits}
        fields = iter(told)
        for tenant, each in limits.items():
            for limit in each:
                _read(stored[tenant], limit, next(fields))
        return stored


def _read(stored: Stored, limit: Limit, fields: dict[str, str] | list[tuple[str, float]]) -> None:
    if isinstance(fields, list):
        stored.places[limit.name] = dict(fields)
    elif isinstance(limit.window, Calendar):
        later = MARCH if limit.window.unit == "month" else 0
        for name, amount in fields.items():
            kept = stored.settled if name[0] == "s" else stored.reserved
            kept[limit.name, int(name[1:]) + later] = int(amount)
    elif fields:
        stored.buckets[limit.name] = {
            int(name): int(amount) for name, amount in fields.items() if name.isdigit()
        }
        stored.sums[limit.name] = int(fields["s"])


def _refused(entry: bytes) -> None:
    raise AssertionError("a row has gone another way though Redis answers")
