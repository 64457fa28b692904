"""
Both limiters against a plain model, with limits, leases and clocks drawn at random.

The model keeps what was admitted in lists and does the arithmetic of LIMITS by definition; every
decision, wait and counter must agree with it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.contract.errors import LimitExceeded
from gateway.limits.keys import shard_keys, shard_of, tenant_prefix
from gateway.limits.limiter import Limiter
from gateway.limits.memory import AHEAD, MemoryLimiter
from gateway.limits.model import (
    DAY_MS,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    Reservation,
    Sliding,
    Standing,
)
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import open_redis
from tests.support.redis_server import RedisServer
from tests.support.ticker import Ticker

WIDTH, BUCKETS = 1000, 10
LENGTH = WIDTH * BUCKETS


@dataclass(eq=False)
class Entry:
    """A charge on the windows, and the part of it that counts by the limit's definition."""

    at: int
    requests: int
    tokens: int
    admitted: bool = True


@dataclass(eq=False)
class Open:
    reservation: Reservation
    tokens: int
    day: int
    ends: float
    entry: Entry


class Machine(RuleBasedStateMachine):
    """A limiter and the model beside it."""

    leased = False

    def __init__(self) -> None:
        super().__init__()
        self.ticker = Ticker()
        self.clock = 0
        self.entries: list[Entry] = []
        self.open: dict[str, Open] = {}
        self.expired: dict[str, Open] = {}
        self.settled: dict[int, int] = {}
        self.made = 0
        self.runner = asyncio.Runner()

    def begin(self, lease: int) -> Limiter:
        raise NotImplementedError

    def stored(self, day: int) -> tuple[int, int, int]:
        """Settled and reserved of a day, and how many reservations are open."""
        raise NotImplementedError

    @initialize(
        requests=st.integers(1, 8),
        tokens=st.integers(20, 200),
        daily=st.integers(40, 300),
        places=st.integers(1, 5),
        lease=st.integers(500, 7000),
    )
    def start(self, requests: int, tokens: int, daily: int, places: int, lease: int) -> None:
        window = Sliding(bucket_ms=WIDTH, buckets=BUCKETS)
        self.requests, self.tokens, self.daily, self.places = requests, tokens, daily, places
        self.lease = lease
        self.limits = (
            Limit("tenant:acme", "requests", requests, window),
            Limit("tenant:acme", "tokens", tokens, window),
            Limit("tenant:acme", "tokens", daily, Calendar("day")),
            Limit("key:k", "concurrency", places, AtOnce()),
        )
        self.limiter = self.begin(lease)

    def now(self) -> int:
        """The instant by which the next call counts, as DECISIONS 3 (e) has it."""
        told = self.ticker()
        self.clock = told if self.clock > told + AHEAD else max(told, self.clock)
        bucket = self.clock // WIDTH
        if any(entry.at // WIDTH > bucket for entry in self.entries):
            self.entries.clear()  # charged by a clock that was given up
        return self.clock

    def counted(self, now: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.at // WIDTH >= now // WIDTH - BUCKETS]

    def reserved(self, day: int) -> int:
        return sum(each.tokens for each in self.open.values() if each.day == day)

    def taken(self, now: int) -> int:
        return sum(each.ends > now for each in self.open.values())

    def wait(self, now: int, tokens: int) -> int | None:
        """How long every limit together must be waited for, None to be admitted."""
        entries, waits = self.counted(now), []
        for measure, room in (("requests", self.requests - 1), ("tokens", self.tokens - tokens)):
            charges = sorted((each.at, getattr(each, measure)) for each in entries)
            excess = sum(amount for _, amount in charges) - room
            while excess > 0:
                at, amount = charges.pop(0)
                excess -= amount
                if excess <= 0:
                    waits.append((at // WIDTH + BUCKETS + 1) * WIDTH - now)
        day = now // DAY_MS
        if self.settled.get(day, 0) + self.reserved(day) + tokens > self.daily:
            waits.append((day + 1) * DAY_MS - now)
        if self.taken(now) >= self.places:
            waits.append(1000)
        return max(waits, default=None)

    @rule(tokens=st.integers(1, 60))
    def reserve(self, tokens: int) -> None:
        tokens = min(tokens, self.tokens, self.daily)
        now = self.now()
        wait = self.wait(now, tokens)
        self.made += 1
        name = f"r{self.made}"
        held, told = self.runner.run(self.outcome(name, tokens))
        assert told == (None if wait is None else wait / 1000)
        if held is None:
            return
        entry, day = Entry(now, 1, tokens), now // DAY_MS
        self.entries.append(entry)
        ends = now + self.lease if self.leased else float("inf")
        self.open[name] = Open(held, tokens, day, ends, entry)
        self.check_standings(now, held.standings)

    async def outcome(self, name: str, tokens: int) -> tuple[Reservation | None, float | None]:
        try:
            held = await self.limiter.reserve(name, "acme", self.limits, Ask(Amounts(tokens)))
        except LimitExceeded as error:
            return None, error.retry_after
        return held, None

    def check_standings(self, now: int, standings: tuple[Standing, ...]) -> None:
        entries, day = self.counted(now), now // DAY_MS
        assert [standing.remaining for standing in standings] == [
            self.requests - sum(entry.requests for entry in entries),
            self.tokens - sum(entry.tokens for entry in entries),
            self.daily - self.settled.get(day, 0) - self.reserved(day),
            self.places - self.taken(now),
        ]

    @rule(
        by=st.one_of(
            st.integers(0, 400),
            st.integers(400, 4000),
            st.integers(9000, 12000),
            st.integers(-5000, -1),
            st.just(DAY_MS // 2),
        )
    )
    def tick(self, by: int) -> None:
        self.ticker.ms += by

    @precondition(lambda self: not self.open and not self.expired)
    @rule(by=st.integers(AHEAD + 1, 4 * AHEAD))
    def the_clock_turns_out_to_have_run_ahead(self, by: int) -> None:
        if any(entry.at // WIDTH == self.clock // WIDTH for entry in self.entries):
            self.ticker.ms = self.clock - by

    @precondition(lambda self: self.open)
    @rule(data=st.data(), used=st.integers(0, 90))
    def settle(self, data: st.DataObject, used: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.open)))
        self.end(self.open.pop(name), used)

    def end(self, each: Open, used: int) -> None:
        now, again = self.now(), replace(each.reservation)
        self.runner.run(self.limiter.settle(each.reservation, Amounts(used)))
        self.runner.run(self.limiter.settle(again, Amounts(used + 1)))  # charges once
        self.settled[each.day] = self.settled.get(each.day, 0) + used
        each.entry.tokens = min(each.tokens, used)
        if used > each.tokens:
            self.entries.append(Entry(now, 0, used - each.tokens, admitted=False))

    @invariant()
    def no_real_window_holds_more_than_its_limit(self) -> None:
        admitted = [entry for entry in self.entries if entry.admitted]
        for end in {entry.at + part for entry in admitted for part in (0, LENGTH - 1)}:
            window = [entry for entry in admitted if end - LENGTH < entry.at <= end]
            assert len(window) <= self.requests
            assert sum(entry.tokens for entry in window) <= self.tokens

    @invariant()
    def what_is_stored_is_what_was_done(self) -> None:
        if self.made:
            day = self.clock // DAY_MS
            reserved = self.reserved(day)
            assert self.stored(day) == (self.settled.get(day, 0), reserved, len(self.open))

    def teardown(self) -> None:
        self.runner.close()


class InProcess(Machine):
    def begin(self, lease: int) -> Limiter:
        self.memory = MemoryLimiter(clock=self.ticker, wall=self.ticker)
        return self.memory

    def stored(self, day: int) -> tuple[int, int, int]:
        counter = self.memory._counters["acme", self.limits[2].name]
        settled, reserved = counter._settled.get(day, 0), counter._reserved.get(day, 0)
        return settled, reserved, len(self.memory._open)


class OnRedis(Machine):
    leased = True
    server: RedisServer

    def begin(self, lease: int) -> Limiter:
        self.raw = redis.Redis.from_url(self.server.url, decode_responses=True)
        self.raw.flushall()
        self.client = open_redis(self.server.url, deadline=5)
        self.shared = RedisLimiter(
            self.client,
            LimitsSettings(lease=lease / 1000),
            clock=self.ticker.seconds,
            now=self.ticker,
        )
        return self.shared

    def stored(self, day: int) -> tuple[int, int, int]:
        shard = shard_of("acme")
        key = tenant_prefix("acme", shard) + self.limits[2].name
        settled, reserved = self.raw.hmget(key, f"s{day}", f"r{day}")
        stored, leases, _ = shard_keys(shard)
        assert self.raw.hlen(stored) == self.raw.zcard(leases)
        return int(settled or 0), int(reserved or 0), self.raw.hlen(stored)

    @rule()
    def sweep(self) -> None:
        told = self.ticker()
        if any(each.ends <= told for each in self.open.values()):
            self.now()
        before = self.shared.counts.expired
        self.runner.run(self.shared._leases.sweep())
        lapsed = [name for name, each in self.open.items() if each.ends <= told]
        for name in lapsed:  # windows stay charged, a day's tokens are given back
            self.expired[name] = self.open.pop(name)
        assert self.shared.counts.expired - before == len(lapsed)

    @precondition(lambda self: self.expired)
    @rule(data=st.data(), used=st.integers(0, 90))
    def settle_late(self, data: st.DataObject, used: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.expired)))
        before = self.shared.counts.late
        self.end(self.expired.pop(name), used)
        assert self.shared.counts.late == before + 1

    @rule()
    def renew(self) -> None:
        held = self.shared._leases._held
        self.shared._leases._connections = self.client.connections
        if held:
            now = self.now()
            self.runner.run(self.shared._leases.renew())
            for name, each in (self.open | self.expired).items():
                alive = name in self.open and each.ends > now
                if alive:
                    each.ends = now + self.lease
                if not each.reservation.lost:
                    assert alive
                assert (name in held) == (alive and not each.reservation.lost)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.runner.run(self.client.aclose())
            self.raw.close()
        super().teardown()


def check(machine: Callable[[], Machine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_limiter_in_process_agrees_with_the_model() -> None:
    check(InProcess, 100)


def test_the_limiter_on_redis_agrees_with_the_model(redis_server: RedisServer) -> None:
    class Served(OnRedis):
        server = redis_server

    check(Served, 100)
