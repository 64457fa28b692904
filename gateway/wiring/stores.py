"""
What the gateway keeps things in, opened together and closed in reverse.

Rows of the ledger come from the limiter, so what takes them outlives it; keys and plans follow the
database's feed. A library that takes long to load is loaded only where its store is used.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import structlog

from ..access import Peppers
from ..access.stored import StoredKeys
from ..admin.audit import AuditHead
from ..config import Config
from ..contract.errors import StoreUnavailable
from ..idempotency import Idempotency, Shelf
from ..ledger.ledger import Ledger
from ..ledger.pruner import Pruner
from ..limits import Books, Limiter, MemoryLimiter, PlanSettings
from ..limits.keys import SHARDS, ledger_key, shard_of, tenant_prefix
from ..quarantine import Book, MemoryBook, Quarantine
from ..settings import Settings, StartRefused
from ..store import schema
from ..store.audit import AuditLog
from ..store.database import Database
from ..store.feed import Feed
from ..store.identities import Identities
from ..store.usage import UsageQuery, UsageRow, usage
from .plan_book import PlanBook

if TYPE_CHECKING:
    from ..ledger.mover import Mover
    from ..ledger.streams import Streams
    from ..redis import Redis

AGAIN = 1.0
"""Seconds until a database that was out of reach at the start is tried again."""

ANSWERS_DEADLINE = 1.0
"""Seconds in which Redis has to take or give kept answers, which may be large."""

_log = structlog.stdlib.get_logger("lockgate.stores")


class Stores:
    """
    The database and what is kept in it; Redis, where there is one; and the limiter.

    Making it opens nothing. `use_plans` is told of all plans by name, whenever they change.
    """

    def __init__(
        self,
        settings: Settings,
        config: Config,
        peppers: tuple[bytes, ...],
        use_plans: Callable[[Mapping[str, PlanSettings]], None],
    ) -> None:
        self._url = settings.store_url
        self._is_prepared = False
        self.database = Database(self._url)
        self.feed = Feed(self.database)
        self.audit = AuditLog.of(*peppers)
        self.ledger = Ledger(self.database, config.ledger)
        self.keys = StoredKeys(Identities(self.database), self.feed, Peppers(*peppers))
        self.plans = PlanBook(config.plans, self.database, use_plans)
        self.feed.subscribe(self.plans.heed)
        books = Books(spent=self.ledger, outbox=self.ledger.put)
        self._redis = _redis(settings, config.limits.deadline)
        self.limiter = (
            MemoryLimiter(books=books)
            if self._redis is None
            else _shared(self._redis, config, books)
        )
        # A connection of its own: no limit waits for an answer of a megabyte to pass.
        self._answers = _redis(settings, ANSWERS_DEADLINE)
        shelf = None if self._answers is None else _shelf(self._answers, config)
        self.idempotency = Idempotency(config.idempotency, shelf=shelf)
        self.quarantine = Quarantine(config.quarantine, self._kills(config), peppers[0])
        self._streams = _streams(settings)
        self.mover = _mover(self._streams, config, self.database)
        self._pruner = Pruner(self.database, config.ledger)
        self._audit_head = AuditHead(self.database)

    def _kills(self, config: Config) -> Book:
        """Where requests that kill are written down: for all processes, if they share a Redis."""
        window = config.quarantine.window
        if self._redis is None:
            return MemoryBook(window, clock=time.monotonic)
        book: Book = import_module("gateway.quarantine.shared").SharedBook(
            self._redis,
            lambda tenant: tenant_prefix(tenant, shard_of(tenant)),
            window,
            reachable=lambda: self.limiter.reachable,
        )
        return book

    async def prepare(self) -> None:
        """
        Make sure, once, that the database has this version's schema.

        Raises:
            SchemaRefused: it has not, and is not ours to change.
        """
        if self._is_prepared:
            return
        try:
            await schema.prepare(self._url)
        except StoreUnavailable:
            return  # it is looked at again as soon as it can be reached
        self._is_prepared = True

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Between its two ends everything is reached, or known to be out of reach."""
        await self.prepare()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.database)
            await stack.enter_async_context(self.ledger)
            if self._redis is not None:
                stack.push_async_callback(self._redis.aclose)
            if self._answers is not None:
                stack.push_async_callback(self._answers.aclose)
            await stack.enter_async_context(self.idempotency)
            if self._streams is not None and self.mover is not None:
                await stack.enter_async_context(self._streams)
                await stack.enter_async_context(self.mover)
            await stack.enter_async_context(self.limiter)
            await stack.enter_async_context(self._following())
            await stack.enter_async_context(self.plans)
            await stack.enter_async_context(self.keys)
            await stack.enter_async_context(self._audit_head)
            await stack.enter_async_context(self._pruner)
            yield

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """
        Sums over the ledger.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        async with self.database.reading() as connection:
            return await usage(connection, query)

    def ledger_is_full(self) -> bool:
        """Whether a further request could not be accounted for."""
        return self.ledger.full or (self.mover is not None and self.mover.full)

    def reachable(self) -> Mapping[str, bool]:
        """By name, whether each store that is used answers."""
        states = {"database": self._is_prepared and self.database.reachable}
        if self._redis is not None:
            states["redis"] = self.limiter.reachable
        return states

    def warnings(self) -> Mapping[str, str]:
        """By name, what is wrong with a store that answers."""
        if not self.limiter.evicts:
            return {}
        return {"redis": f"drops limits when it is full: maxmemory-policy {self.limiter.evicts}"}

    @asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        """Follow the feed: at once, or from when the database has been looked at."""
        if self._is_prepared:
            async with self.feed:
                yield
            return
        late = asyncio.get_running_loop().create_task(self._follow_late())
        try:
            yield
        finally:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)

    async def _follow_late(self) -> None:
        while not self._is_prepared:
            await asyncio.sleep(AGAIN)
            try:
                await self.prepare()
            except schema.SchemaRefused as refused:
                _log.error("schema_refused", reason=str(refused))
                return
        async with self.feed:
            await asyncio.get_running_loop().create_future()  # until it is cancelled


def _redis(settings: Settings, deadline: float) -> "Redis | None":
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    try:
        opened: Redis = import_module("gateway.redis").open_redis(url, deadline=deadline)
    except ValueError:
        raise StartRefused("LOCKGATE_REDIS_URL is not the address of a Redis server") from None
    return opened


def _shelf(redis: "Redis", config: Config) -> Shelf:
    shelf: Shelf = import_module("gateway.idempotency.shelf").RedisShelf(
        redis, config.idempotency, lambda tenant: tenant_prefix(tenant, shard_of(tenant))
    )
    return shelf


def _shared(redis: "Redis", config: Config, books: Books) -> Limiter:
    limiter: Limiter = import_module("gateway.limits.redis").RedisLimiter(
        redis, config.limits, books=books
    )
    return limiter


def _streams(settings: Settings) -> "Streams | None":
    """What rows wait in on Redis, over a connection of its own."""
    if settings.redis_url is None:
        return None
    names = [ledger_key(shard) for shard in range(SHARDS)]
    streams: Streams = import_module("gateway.ledger.streams").Streams(
        settings.redis_url.get_secret_value(), names
    )
    return streams


def _mover(streams: "Streams | None", config: Config, database: Database) -> "Mover | None":
    if streams is None:
        return None
    mover: Mover = import_module("gateway.ledger.mover").Mover(streams, database, config.ledger)
    return mover
