import asyncio

import pytest

from gateway.contract.errors import LimitExceeded, StoreUnavailable
from gateway.limits import memory
from gateway.limits.limiter import Books
from gateway.limits.memory import OFTEN, MemoryLimiter, wall_ms
from gateway.limits.model import NOTHING, Amounts, Ask, AtOnce, Calendar, Limit, Sliding
from tests.support.ticker import START, Ticker

LIMITS = (
    Limit("tenant:acme", "requests", 10**6, Sliding(bucket_ms=1000, buckets=10)),
    Limit("tenant:acme", "tokens", 10**6, Calendar("day")),
    Limit("tenant:acme", "concurrency", 10**6, AtOnce()),
)


async def test_counters_that_are_not_in_use_are_dropped(ticker: Ticker) -> None:
    limiter = MemoryLimiter(clock=ticker.ns, wall=ticker.ns)
    for number in range(OFTEN):
        held = await limiter.reserve(f"r{number}", f"t{number}", LIMITS[:1], Ask(NOTHING))
        await limiter.settle(held, NOTHING)
    ticker.ms += 11_000
    for number in range(OFTEN):
        await limiter.reserve(f"s{number}", f"u{number}", LIMITS[:1], Ask(NOTHING))

    assert not [tenant for tenant, _ in limiter._counters if tenant.startswith("t")]


async def test_counters_are_looked_up_once_among_ten_thousand_tenants() -> None:
    limiter = MemoryLimiter()
    for turn in range(2):
        for number in range(10_000):
            held = await limiter.reserve(f"{turn}r{number}", f"t{number}", LIMITS, Ask(NOTHING))
            await limiter.settle(held, NOTHING)
        if turn == 0:
            bound = dict(limiter._bound)

    assert limiter._bound == bound
    assert len(bound) == 10_000


async def test_no_more_than_so_many_callers_are_remembered(
    ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "REMEMBERED", 10)
    limiter = MemoryLimiter(clock=ticker.ns, wall=ticker.ns)
    held = await limiter.reserve("r", "acme", LIMITS, Ask(Amounts(10)))
    for number in range(100):
        await limiter.reserve(f"r{number}", f"t{number}", LIMITS, Ask(NOTHING))
        assert len(limiter._bound) <= 10

    await limiter.settle(held, Amounts(4))

    left = [each.remaining for each in await limiter.standings("acme", LIMITS)]
    assert left == [10**6 - 1, 10**6 - 4, 10**6]


async def test_what_is_reserved_keeps_its_counters(ticker: Ticker) -> None:
    limiter = MemoryLimiter(clock=ticker.ns, wall=ticker.ns)
    tokens = Limit("tenant:acme", "tokens", 50, Sliding(bucket_ms=1000, buckets=10))
    held = await limiter.reserve("r", "acme", (tokens,), Ask(Amounts(10)))
    ticker.ms += 60_000
    limiter._forget_idle(limiter._now())
    assert limiter._bound == {}

    await limiter.settle(held, Amounts(60))

    with pytest.raises(LimitExceeded):
        await limiter.reserve("s", "acme", (tokens,), Ask(Amounts(1)))
    ticker.ms += 60_000
    limiter._forget_idle(limiter._now())
    assert limiter._counters == {}


async def test_windows_and_periods_have_clocks_of_their_own(ticker: Ticker) -> None:
    wall = Ticker()
    limiter = MemoryLimiter(clock=ticker.ns, wall=wall.ns)
    await limiter.reserve("r", "acme", LIMITS, Ask(NOTHING))
    wall.ms += 86_400_000

    held = await limiter.reserve("s", "acme", LIMITS, Ask(NOTHING))

    assert held.standings[0].remaining == 10**6 - 2


class Silent:
    """A ledger that is out of reach, which takes a while to find out."""

    def __init__(self) -> None:
        self.known = asyncio.Event()

    async def spent(self, *asked: object, without: str = "") -> int:
        await self.known.wait()
        raise StoreUnavailable


async def test_who_has_waited_for_the_ledger_in_vain_counts_by_the_time_that_it_is_then(
    ticker: Ticker,
) -> None:
    ledger = Silent()
    limiter = MemoryLimiter(clock=ticker.ns, wall=ticker.ns, books=Books(spent=ledger))
    rate = Limit("tenant:acme", "requests", 3, Sliding(bucket_ms=1000, buckets=60))
    place = Limit("tenant:acme", "concurrency", 1, AtOnce())
    daily = Limit("key:a1", "tokens", 100, Calendar("day"), "local")
    asking = asyncio.create_task(
        limiter.reserve("slow", "acme", (rate, place, daily), Ask(Amounts(1)))
    )
    await asyncio.sleep(0)
    ticker.ms += 5000
    for name in ("a", "b"):
        await limiter.reserve(name, "acme", (rate,), Ask(NOTHING))
    limiter._forget_idle(limiter._now())

    ledger.known.set()
    slow = await asking

    assert [each.remaining for each in slow.standings] == [0, 0, 99]
    await limiter.settle(slow, Amounts(1))
    assert [each.remaining for each in await limiter.standings("acme", (rate, place))] == [0, 1]


class Slow:
    """A ledger that answers by what it knew when it was asked."""

    def __init__(self) -> None:
        self.reachable = False
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def spent(self, *asked: object, without: str = "") -> int:
        if not self.reachable:
            raise StoreUnavailable
        self.asked.set()
        await self.answers.wait()
        return 0


async def test_what_is_settled_while_the_ledger_is_asked_is_not_forgotten(ticker: Ticker) -> None:
    ledger = Slow()
    limiter = MemoryLimiter(clock=ticker.ns, wall=ticker.ns, books=Books(spent=ledger))
    daily = (Limit("tenant:acme", "tokens", 100, Calendar("day"), "local"),)
    held = await limiter.reserve("a", "acme", daily, Ask(Amounts(30)))
    ledger.reachable = True
    asking = asyncio.create_task(limiter.reserve("b", "acme", daily, Ask(Amounts(10))))
    await ledger.asked.wait()

    await limiter.settle(held, Amounts(30))
    ledger.answers.set()

    assert [each.remaining for each in (await asking).standings] == [60]


async def test_it_is_opened_and_closed_like_any_other() -> None:
    async with MemoryLimiter() as limiter:
        held = await limiter.reserve("r", "acme", LIMITS, Ask(Amounts(5)))
        await limiter.open()
        await limiter.aclose()

    assert limiter.reachable
    assert held.standings[1].remaining == 10**6 - 5


def test_the_wall_clock_is_milliseconds() -> None:
    assert wall_ms() > START - 10**12
