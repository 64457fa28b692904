import asyncio
from datetime import date

import pytest

from gateway.contract.errors import StoreUnavailable
from gateway.limits.model import Calendar, Limit, Measure
from gateway.limits.seeds import Seeds
from tests.support.spent import Ledger
from tests.support.ticker import START

DAILY = Limit("tenant:acme", "money", 10, Calendar("day"))
MONTHLY = Limit("key:k", "tokens", 10, Calendar("month"))


class Slow(Ledger):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()

    async def spent(
        self, tenant: str, scope: str, measure: Measure, start: date, *, without: str = ""
    ) -> int:
        self.asked.append((tenant, scope, measure, start, without))
        await self.ready.wait()
        return 7


async def test_a_period_is_asked_for_from_its_first_day_on() -> None:
    ledger = Ledger()
    ledger.sums.update(money=3, tokens=5)

    assert await Seeds(ledger).of("acme", (DAILY, MONTHLY), START, without="r") == [3, 5]
    assert ledger.asked == [
        ("acme", "tenant:acme", "money", date(2026, 9, 21), "r"),
        ("acme", "key:k", "tokens", date(2026, 9, 1), "r"),
    ]


async def test_all_who_wait_for_a_counter_share_one_question() -> None:
    ledger = Slow()
    seeds = Seeds(ledger)
    waiting = [asyncio.ensure_future(seeds.of("acme", (DAILY,), START)) for _ in range(5)]
    await asyncio.sleep(0)

    waiting[0].cancel()
    await asyncio.sleep(0)
    ledger.ready.set()

    assert await asyncio.gather(*waiting[1:]) == [[7]] * 4
    assert len(ledger.asked) == 1
    assert await seeds.of("acme", (DAILY,), START) == [7]
    assert len(ledger.asked) == 2


async def test_who_can_not_be_told_hears_so() -> None:
    ledger = Ledger()
    ledger.reachable = False

    with pytest.raises(StoreUnavailable):
        await Seeds(ledger).of("acme", (DAILY,), START)


async def test_closing_ends_what_is_still_asked() -> None:
    ledger = Slow()
    seeds = Seeds(ledger)
    waiting = asyncio.ensure_future(seeds.of("acme", (DAILY,), START))
    await asyncio.sleep(0)

    await seeds.aclose()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_without_a_ledger_nothing_is_wanted_of_it() -> None:
    assert not Seeds(None).wanted
    assert Seeds(Ledger()).wanted
