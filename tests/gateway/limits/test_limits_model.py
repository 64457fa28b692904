"""
Both limiters against a plain model, with limits, requests, leases and clocks drawn at random.

The model keeps what was admitted in lists and does the arithmetic of LIMITS by definition; every
decision, cap, wait and counter must agree with it. Its ledger is what it has settled itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest
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

from gateway.contract.errors import (
    BudgetExhausted,
    LimitExceeded,
    LimitsUnavailable,
    RequestExceedsLimit,
)
from gateway.limits.keys import shard_keys, shard_of, tenant_prefix
from gateway.limits.limiter import Books, Limiter
from gateway.limits.memory import AHEAD, MemoryLimiter
from gateway.limits.model import (
    DAY_MS,
    NOTHING,
    Amounts,
    Ask,
    AtOnce,
    Calendar,
    Limit,
    Measure,
    Reservation,
    Sliding,
    Standings,
)
from gateway.limits.redis import RedisLimiter
from gateway.limits.settings import LimitsSettings
from gateway.redis import open_redis
from tests.support.redis_server import RedisServer
from tests.support.ticker import START, Ticker

WIDTH, BUCKETS = 1000, 10
LENGTH = WIDTH * BUCKETS
WINDOW, DAY = Sliding(bucket_ms=WIDTH, buckets=BUCKETS), Calendar("day")
SLIDING: tuple[Measure, ...] = ("requests", "tokens")
DAILY: tuple[Measure, ...] = ("tokens", "money")
REAPED = 8
GRACE = 2000

asks = st.builds(
    lambda prompt, each, price, cap, part: Ask(
        Amounts(prompt, 7 * prompt), Amounts(each, price * each), cap, cap * part // 4
    ),
    st.integers(0, 40),
    st.integers(0, 2),
    st.integers(0, 30),
    st.integers(0, 40),
    st.integers(0, 4),
)
amounts = st.builds(Amounts, st.integers(0, 90), st.integers(0, 900))


@dataclass(eq=False)
class Part:
    """
    Something that counts from an instant on, under a limit; 0 where it was used beyond what was
    reserved, which no limit was asked for.
    """

    at: int
    amount: int
    limit: int


@dataclass(frozen=True)
class Amounted:
    """The amounts of the limits, as they were at some time."""

    requests: int
    tokens: int
    daily_tokens: int
    daily_money: int
    places: int

    def sliding(self, measure: Measure) -> int:
        return self.requests if measure == "requests" else self.tokens

    @property
    def daily(self) -> dict[Measure, int]:
        return {"tokens": self.daily_tokens, "money": self.daily_money}


@dataclass(eq=False)
class Held:
    """A reservation: what is charged for it in the windows, and what that is made of."""

    reservation: Reservation
    amounts: Amounts
    day: int
    ends: float
    at: dict[Measure, int]
    limits: Amounted
    parts: dict[Measure, list[Part]] = field(default_factory=dict)
    progress: Amounts = NOTHING
    noted: Amounts = NOTHING


def amount_of(measure: Measure, of: Amounts) -> int:
    return {"tokens": of.tokens, "money": of.cost}.get(measure, 1)


class Machine(RuleBasedStateMachine):
    """A limiter and the model beside it."""

    leased = False

    def __init__(self) -> None:
        super().__init__()
        self.ticker = Ticker()
        self.clock = 0
        self.windows: dict[Measure, list[Part]] = {measure: [] for measure in SLIDING}
        self.parts: dict[Measure, list[Part]] = {measure: [] for measure in SLIDING}
        self.open: dict[str, Held] = {}
        self.expired: dict[str, Held] = {}
        self.provisional: dict[str, Held] = {}
        self.reaped: list[str] = []
        self.settled: defaultdict[tuple[Measure, int], int] = defaultdict(int)
        self.counted: set[int] = set()
        self.rows: list[bytes] = []
        self.told: list[bytes] = []
        self.made = 0
        self.lost = False
        self.remembers_too_much = False
        self.runner = asyncio.Runner()

    def begin(self, lease: int) -> Limiter:
        raise NotImplementedError

    def stored(self, measure: Measure, day: int) -> tuple[int, int]:
        """Settled and reserved of a day."""
        raise NotImplementedError

    def stored_open(self) -> int:
        """How many reservations are open."""
        raise NotImplementedError

    @initialize(
        lease=st.integers(500, 7000),
        tokens=st.integers(0, 60),
        cost=st.integers(0, 600),
        data=st.data(),
    )
    def start(self, lease: int, tokens: int, cost: int, data: st.DataObject) -> None:
        self.lease = lease
        self.settled["tokens", START // DAY_MS] = tokens  # before the limiter began
        self.settled["money", START // DAY_MS] = cost
        self.the_limits_are_changed(data)
        self.limiter = self.begin(lease)

    @rule(data=st.data())
    def the_limits_are_changed(self, data: st.DataObject) -> None:
        self.allowed = allowed = data.draw(
            st.builds(
                Amounted,
                st.integers(1, 8),
                st.integers(20, 200),
                st.integers(40, 300),
                st.integers(200, 4000),
                st.integers(1, 5),
            )
        )
        self.limits = (
            Limit("tenant:acme", "requests", allowed.requests, WINDOW),
            Limit("tenant:acme", "tokens", allowed.tokens, WINDOW),
            Limit("tenant:acme", "tokens", allowed.daily_tokens, DAY),
            Limit("project:p", "money", allowed.daily_money, DAY),
            Limit("key:k", "concurrency", allowed.places, AtOnce()),
        )

    async def spent(
        self, tenant: str, scope: str, measure: Measure, start: date, *, without: str = ""
    ) -> int:
        """The ledger, which lags behind nothing and knows nothing beforehand."""
        day = (start - date(1970, 1, 1)).days
        provisional = [
            self.provisional[each] for each in {without, *self.reaped} & {*self.provisional}
        ]
        too_much = sum(amount_of(measure, each.noted) for each in provisional if each.day == day)
        return self.settled[measure, day] - too_much

    def now(self) -> int:
        """The instant by which the next call counts, as DECISIONS 3 (e) has it."""
        told = self.ticker()
        self.clock = told if self.clock > told + AHEAD else max(told, self.clock)
        bucket = self.clock // WIDTH
        if any(part.at // WIDTH > bucket for parts in self.windows.values() for part in parts):
            for measure in SLIDING:  # charged by a clock that was given up
                self.windows[measure].clear()
                self.parts[measure].clear()
        return self.clock

    def charges(self, measure: Measure, now: int) -> list[Part]:
        parts, bucket = self.windows[measure], now // WIDTH
        if any(part.at // WIDTH > bucket for part in parts):  # seen by a clock to be given up
            return []
        return [part for part in parts if part.at // WIDTH >= bucket - BUCKETS]

    def reserved(self, measure: Measure, day: int) -> int:
        held = (each for each in self.open.values() if each.day == day)
        return sum(amount_of(measure, each.amounts) for each in held)

    def taken(self, now: int) -> int:
        return sum(each.ends > now for each in self.open.values())

    def room(self, measure: Measure, day: int) -> int:
        return self.allowed.daily[measure] - self.in_use(measure, day)

    def in_use(self, measure: Measure, day: int) -> int:
        return self.settled[measure, day] + self.reserved(measure, day)

    def cap(self, ask: Ask, rooms: dict[Measure, int]) -> int:
        """The highest cap down to the least that fits, -1 if none does; found by trying."""
        for cap in range(ask.cap, ask.least - 1, -1):
            if all(amount_of(each, ask.at(cap)) <= room for each, room in rooms.items()):
                return cap
        return -1

    def verdict(self, ask: Ask, now: int) -> tuple[int, int | None]:
        """The cap, and how long all limits together must be waited for, None to be admitted."""
        ask = replace(ask, cap=self.cap(ask, self.allowed.daily))
        waits = [self.window_wait(each, amount_of(each, ask.at(ask.cap)), now) for each in SLIDING]
        day = now // DAY_MS
        fitting = {each: self.cap(ask, {each: self.room(each, day)}) for each in DAILY}
        if min(fitting.values()) < 0:
            waits.append((day + 1) * DAY_MS - now)
        if self.taken(now) >= self.allowed.places:
            waits.append(1000)
        return min(fitting.values()), max(waits) or None

    def is_too_large(self, ask: Ask) -> bool:
        most = ask.at(ask.cap)
        slides = all(amount_of(each, most) <= self.allowed.sliding(each) for each in SLIDING)
        return not slides or self.cap(ask, self.allowed.daily) < 0

    def window_wait(self, measure: Measure, amount: int, now: int) -> int:
        charges = sorted((part.at, part.amount) for part in self.charges(measure, now))
        excess = sum(amount for _, amount in charges) + amount - self.allowed.sliding(measure)
        if excess <= 0:
            return 0
        for at, freed in charges:
            excess -= freed
            if excess <= 0:
                return (at // WIDTH + BUCKETS + 1) * WIDTH - now
        raise AssertionError("an amount never exceeds its limit")

    @rule(ask=asks)
    def reserve(self, ask: Ask) -> None:
        self.made += 1
        name = f"r{self.made}"
        if self.is_too_large(ask):
            with pytest.raises(RequestExceedsLimit):
                self.runner.run(self.limiter.reserve(name, "acme", self.limits, ask))
            return
        now = self.now()
        if self.lost:
            with pytest.raises(LimitsUnavailable):  # while all put back what they have
                self.runner.run(self.limiter.reserve(name, "acme", self.limits, ask))
            self.recovered(now)
            return
        cap, wait = self.verdict(ask, now)
        if wait is not None and self.reap(now):
            cap, wait = self.verdict(ask, now)
        held, told, error = self.runner.run(self.outcome(name, ask))
        self.reaped = []
        assert told == (None if wait is None else wait / 1000)
        if held is None:
            assert isinstance(error, BudgetExhausted) == self.is_out_of_money(ask, now, wait)
            return
        assert (held.cap, held.amounts) == (cap, ask.at(cap))
        self.admit(name, held, now)
        self.check_standings(now, held.standings)

    def is_out_of_money(self, ask: Ask, now: int, wait: int | None) -> bool:
        """Whether money is what refuses: of limits with the same wait, the first speaks."""
        day = now // DAY_MS
        highest = replace(ask, cap=max(0, self.cap(ask, self.allowed.daily)))
        fits = {each: self.cap(highest, {each: self.room(each, day)}) >= 0 for each in DAILY}
        ends = (day + 1) * DAY_MS - now == wait
        return ends and fits["tokens"] and not fits["money"]

    def admit(self, name: str, reservation: Reservation, now: int) -> None:
        ends = now + self.lease if self.leased else float("inf")
        held = Held(
            reservation,
            reservation.amounts,
            now // DAY_MS,
            ends,
            dict.fromkeys(SLIDING, now),
            self.allowed,
        )
        for measure in SLIDING:
            self.charge(held, measure, amount_of(measure, held.amounts), now)
            self.windows[measure].append(Part(now, amount_of(measure, held.amounts), 1))
        self.counted.add(held.day)
        reservation.progress = lambda: held.progress
        self.open[name] = held

    def charge(self, held: Held, measure: Measure, amount: int, now: int) -> None:
        part = Part(now, amount, held.limits.sliding(measure))
        held.parts.setdefault(measure, []).append(part)
        self.parts[measure].append(part)

    async def outcome(
        self, name: str, ask: Ask
    ) -> tuple[Reservation | None, float | None, Exception | None]:
        try:
            held = await self.limiter.reserve(
                name, "acme", self.limits, ask, note=f"note {name}".encode()
            )
        except LimitExceeded as error:
            return None, error.retry_after, error
        return held, None, None

    def check_standings(self, now: int, standings: Standings) -> None:
        assert [standing.remaining for standing in standings] == self.remaining(now)

    def remaining(self, now: int) -> list[int]:
        day = now // DAY_MS
        left = [
            self.allowed.sliding(each) - sum(part.amount for part in self.charges(each, now))
            for each in SLIDING
        ]
        left += [self.room(each, day) for each in DAILY]
        left.append(self.allowed.places - self.taken(now))
        return [max(0, each) for each in left]

    @precondition(lambda self: not self.lost)
    @rule()
    def look(self) -> None:
        told, clock = self.ticker(), self.clock
        now = self.now() if not self.leased else told if clock > told + AHEAD else max(told, clock)
        standings = self.runner.run(self.limiter.standings("acme", self.limits))
        self.check_standings(now, standings)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), more=amounts)
    def extend(self, data: st.DataObject, more: Amounts) -> None:
        name = data.draw(st.sampled_from(sorted(self.open)))
        held = self.open[name]
        if held.reservation.lost or self.lost or self.ticker() // DAY_MS != held.day:
            return
        wanted = Amounts(*map(max, more, held.amounts))
        limits = held.limits
        if wanted.tokens > min(limits.tokens, limits.daily_tokens) or (
            wanted.cost > limits.daily_money
        ):
            with pytest.raises(RequestExceedsLimit):
                self.runner.run(self.limiter.extend(held.reservation, wanted))
            return
        now = self.now()
        refused = self.refuses(held, wanted, now)
        try:
            self.runner.run(self.limiter.extend(held.reservation, wanted))
        except LimitExceeded:
            assert refused
            return
        except LimitsUnavailable:
            assert held.ends <= now
            assert held.reservation.lost
            return
        assert not refused
        assert held.ends > now
        for measure in SLIDING:
            delta = amount_of(measure, wanted) - amount_of(measure, held.amounts)
            if delta:
                self.charge(held, measure, delta, now)
                self.charged(held, measure, 0)
                self.windows[measure].append(Part(now, amount_of(measure, wanted), 1))
                held.at[measure] = now
        held.amounts = wanted

    def refuses(self, held: Held, wanted: Amounts, now: int) -> bool:
        """Whether a limit, as it was at the admission, has no room for more."""
        limits = held.limits
        if held.ends <= now:
            return False
        others = sum(part.amount for part in self.charges("tokens", now))
        if held.at["tokens"] // WIDTH >= now // WIDTH - BUCKETS:
            others -= held.amounts.tokens
        more = {each: amount_of(each, wanted) - amount_of(each, held.amounts) for each in DAILY}
        return (more["tokens"] > 0 and others + wanted.tokens > limits.tokens) or any(
            delta > 0 and self.in_use(each, held.day) + delta > limits.daily[each]
            for each, delta in more.items()
        )

    def charged(self, held: Held, measure: Measure, amount: int) -> None:
        """What is charged for it in its window becomes `amount`."""
        for part in self.windows[measure]:
            if part.at == held.at[measure] and part.amount == amount_of(measure, held.amounts):
                part.amount = amount
                return

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
        # A store that is new remembers no clock, and is not left alone for long.
        self.ticker.ms += min(abs(by), 40) if self.lost else by

    @precondition(lambda self: not self.open and not self.expired and not self.lost)
    @rule(by=st.integers(AHEAD + 1, 4 * AHEAD))
    def the_clock_turns_out_to_have_run_ahead(self, by: int) -> None:
        if any(part.at // WIDTH == self.clock // WIDTH for part in self.windows["requests"]):
            self.ticker.ms = self.clock - by
            self.remembers_too_much = True  # of its future, which would count as now

    @precondition(lambda self: self.open)
    @rule(data=st.data(), used=amounts)
    def settle(self, data: st.DataObject, used: Amounts) -> None:
        name = data.draw(st.sampled_from(sorted(self.open)))
        held = self.open[name]
        self.end(name, held, used, NOTHING)
        del self.open[name]

    def end(self, name: str, held: Held, used: Amounts, before: Amounts) -> None:
        """Settle it; `before` has been charged for it already."""
        now, again, row = self.now(), copy(held.reservation), f"row {name}".encode()
        more = Amounts(used.tokens + 1, used.cost + 1)
        self.remembers_too_much |= held.reservation.lost  # it is not corrected
        self.runner.run(self.limiter.settle(held.reservation, used, entry=row))
        self.runner.run(self.limiter.settle(again, more, entry=b"twice"))  # charges once
        self.rows.append(row)
        self.provisional.pop(name, None)
        if self.lost and now // DAY_MS != held.day:
            return
        for daily in DAILY:
            self.settled[daily, held.day] += amount_of(daily, used) - amount_of(daily, before)
        if self.lost:
            self.counted.add(held.day)
        for measure in SLIDING:
            self.settle_window(held, measure, amount_of(measure, used), now)

    def settle_window(self, held: Held, measure: Measure, used: int, now: int) -> None:
        reserved = amount_of(measure, held.amounts)
        self.charged(held, measure, min(used, reserved))
        if used > reserved and not self.lost:
            self.windows[measure].append(Part(now, used - reserved, 0))
        back = max(0, reserved - used)
        for part in reversed(held.parts[measure]):
            part.amount, back = part.amount - min(back, part.amount), back - min(back, part.amount)

    def reap(self, now: int) -> bool:
        """Whether a refusal has expired something."""
        return False

    @invariant()
    def no_real_window_holds_more_than_its_limit(self) -> None:
        for measure in SLIDING:
            parts = self.parts[measure]
            for i, last in enumerate(parts):
                window = [part for part in parts[: i + 1] if part.at > last.at - LENGTH]
                assert sum(part.amount for part in window) <= last.limit

    @invariant()
    def what_is_stored_is_what_was_done(self) -> None:
        day = self.clock // DAY_MS
        if self.lost or day not in self.counted:
            return
        assert self.stored_open() == len(self.open)
        for measure in DAILY:
            known = self.settled[measure, day], self.reserved(measure, day)
            assert self.stored(measure, day) == known

    @invariant()
    def the_ledger_has_each_row_once(self) -> None:
        assert self.told == self.rows

    def teardown(self) -> None:
        self.runner.close()


class InProcess(Machine):
    def begin(self, lease: int) -> Limiter:
        books = Books(spent=self, outbox=self.told.append)
        self.memory = MemoryLimiter(clock=self.ticker.ns, wall=self.ticker.ns, books=books)
        return self.memory

    def stored(self, measure: Measure, day: int) -> tuple[int, int]:
        limit = self.limits[2 + DAILY.index(measure)]
        counter: Any = self.memory._counters["acme", limit.name]
        return counter._settled.get(day, 0), counter._reserved.get(day, 0)

    def stored_open(self) -> int:
        return len(self.memory._open)


class OnRedis(Machine):
    leased = True
    server: RedisServer

    def begin(self, lease: int) -> Limiter:
        self.raw = redis.Redis.from_url(self.server.url, decode_responses=True)
        self.raw.flushall()
        self.client = open_redis(self.server.url, deadline=5)
        self.shared = RedisLimiter(
            self.client,
            LimitsSettings(lease=lease / 1000, on_store_error="refuse"),
            clock=self.ticker.seconds,
            now=self.ticker,
            books=Books(spent=self),
        )
        return self.shared

    def stored(self, measure: Measure, day: int) -> tuple[int, int]:
        key = tenant_prefix("acme", shard_of("acme")) + self.limits[2 + DAILY.index(measure)].name
        settled, reserved = self.raw.hmget(key, f"s{day}", f"r{day}")
        return int(settled or 0), int(reserved or 0)

    def stored_open(self) -> int:
        stored, leases, _ = shard_keys(shard_of("acme"))
        assert self.raw.hlen(stored) == self.raw.zcard(leases)
        return int(self.raw.hlen(stored))

    def lapsed(self, now: int) -> list[str]:
        return sorted(
            (name for name, each in self.open.items() if each.ends <= now),
            key=lambda name: (self.open[name].ends, name),
        )

    def expire(self, names: list[str]) -> None:
        """Windows stay charged, a day is charged what was last heard of."""
        for name in names:
            held = self.expired[name] = self.provisional[name] = self.open.pop(name)
            for measure in DAILY:
                self.settled[measure, held.day] += amount_of(measure, held.noted)
            self.rows.append(b"note %s %d %d" % (name.encode(), *held.noted))

    def reap(self, now: int) -> bool:
        self.reaped = self.lapsed(now)[:REAPED]
        self.expire(self.reaped)
        return bool(self.reaped)

    @rule()
    def sweep(self) -> None:
        told = self.ticker()
        lapsed = [] if self.lost else self.lapsed(told)
        if lapsed:
            self.now()
        before = self.shared.counts.expired
        now = self.now() if self.lost else self.clock
        self.runner.run(self.shared._leases.sweep())
        self.expire(lapsed)
        assert self.shared.counts.expired - before == len(lapsed)
        if self.lost:
            self.recovered(now)

    @precondition(lambda self: self.expired and not self.lost)
    @rule(data=st.data(), used=amounts)
    def settle_late(self, data: st.DataObject, used: Amounts) -> None:
        name = data.draw(st.sampled_from(sorted(self.expired)))
        before = self.shared.counts.late
        held = self.expired.pop(name)
        self.end(name, held, used, held.noted)
        assert self.shared.counts.late == before + 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), so_far=amounts)
    def go_on(self, data: st.DataObject, so_far: Amounts) -> None:
        held = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        held.progress = Amounts(*map(max, so_far, held.progress))

    @rule()
    def renew(self) -> None:
        held = self.shared._holdings.open
        self.shared._leases._connections = self.client.connections
        if not held:
            return
        now = self.now()
        self.runner.run(self.shared._leases.renew())
        if self.lost:
            self.recovered(now)
            return
        for name, each in (self.open | self.expired).items():
            alive = name in self.open and each.ends > now
            if alive:
                each.ends = now + self.lease
                each.noted = each.progress if each.progress != NOTHING else each.noted
            if not each.reservation.lost:
                assert alive
            assert (name in held) == (alive and not each.reservation.lost)

    @precondition(lambda self: self.counted and not self.expired and not self.lost)
    @rule()
    def the_store_loses_everything(self) -> None:
        """Only what others hold would be missing afterwards, and there are no others."""
        if self.remembers_too_much or self.ticker() < self.clock:
            return
        if any(each.reservation.lost or each.ends <= self.ticker() for each in self.open.values()):
            return
        self.told += self.entries()
        self.raw.flushall()
        self.lost = True

    def recovered(self, now: int) -> None:
        """The store knows again what this process does, and admits once all others may have."""
        self.lost = False
        for measure in SLIDING:
            self.windows[measure] = [part for part in self.windows[measure] if part.limit]
        for each in self.open.values():
            each.ends = now + self.lease
            each.noted = each.progress
        self.ticker.ms = self.now() + GRACE
        self.now()
        self.runner.run(self.shared._scripts.touch(shard_of("acme")))
        self.counted.clear()  # until the next admission asks the ledger

    def entries(self) -> list[bytes]:
        """The rows that are on their way to the ledger."""
        rows = []
        for _, fields in self.raw.xrange(f"lg1:{{s{shard_of('acme')}}}:led"):
            used = f" {fields['tokens']} {fields['cost']}" if fields["how"] == "E" else ""
            rows.append((fields["row"] + used).encode())
        return rows

    @invariant()
    def the_ledger_has_each_row_once(self) -> None:
        if hasattr(self, "raw"):
            assert self.told + self.entries() == self.rows

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


@pytest.mark.no_cover
def test_the_limiter_in_process_agrees_with_the_model() -> None:
    check(InProcess, 100)


@pytest.mark.no_cover
def test_the_limiter_on_redis_agrees_with_the_model(redis_server: RedisServer) -> None:
    class Served(OnRedis):
        server = redis_server

    check(Served, 100)
