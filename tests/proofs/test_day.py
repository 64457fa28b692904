"""
A day of traffic in seconds: callers with habits, limits of every kind, a night in which a month
ends. Everything is counted again afterwards, by the definitions of the limits.
"""

import asyncio
from datetime import UTC, datetime
from random import Random

import pytest

from gateway.contract.errors import LimitExceeded
from gateway.limits.memory import MemoryLimiter
from gateway.limits.model import Amounts, Ask, AtOnce, Calendar, Limit, Measure, Sliding, Window
from tests.proofs.contest import Event
from tests.proofs.referee import Budget, Sheet, count_of
from tests.support.virtual_time import VirtualTime

BEGIN = datetime(2026, 9, 30, 9, 30, tzinfo=UTC)
DAY = 86_400.0
CALLERS = 6
"""Of each tenant."""

MINUTE, HOUR = Sliding(1_000, 60), Sliding(60_000, 60)
DAILY, MONTHLY = Calendar("day"), Calendar("month")


def limits(tenant: str, *amounts: tuple[Measure, int, Window]) -> tuple[Limit, ...]:
    return tuple(Limit(f"tenant:{tenant}", *each) for each in amounts)


TENANTS = {
    tenant: Event(tenant, limits(tenant, *amounts), racers=CALLERS, reserved=reserved)
    for tenant, reserved, amounts in (
        ("hasty", Amounts(), [("requests", 5, MINUTE), ("requests", 200, HOUR)]),
        ("wordy", Amounts(900, 0), [("tokens", 4_000, MINUTE), ("tokens", 600_000, DAILY)]),
        (
            "thrifty",
            Amounts(500, 7_000_001),
            [("money", 450_000_000, DAILY), ("money", 400_000_000, MONTHLY)],
        ),
        ("patient", Amounts(300, 5), [("concurrency", 3, AtOnce()), ("requests", 800, DAILY)]),
    )
}


class Day:
    """The traffic, and a sheet for each tenant."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.sheets = {
            name: Sheet(each, list(map(count_of, each.limits))) for name, each in TENANTS.items()
        }
        self.refused = 0

    def now(self) -> int:
        """ms since 1970; the loop's clock begins at 1000 s."""
        return round((BEGIN.timestamp() + asyncio.get_running_loop().time() - 1_000) * 1_000)

    def ns(self) -> int:
        return self.now() * 1_000_000

    async def live(self) -> None:
        self.limiter = MemoryLimiter(clock=self.ns, wall=self.ns)
        async with asyncio.TaskGroup() as tasks:
            for tenant in TENANTS:
                for place in range(CALLERS):
                    tasks.create_task(self.call(tenant, f"{tenant}-{place}"))

    async def call(self, tenant: str, caller: str) -> None:
        ends, number = asyncio.get_running_loop().time() + DAY, 0
        while asyncio.get_running_loop().time() < ends:
            number += 1
            await asyncio.sleep(self.chance.expovariate(1 / 60))
            await self.ask(self.sheets[tenant], f"{caller}-{number}")

    async def ask(self, sheet: Sheet, name: str) -> None:
        event = sheet.event
        try:
            held = await self.limiter.reserve(name, event.tenant, event.limits, Ask(event.reserved))
        except LimitExceeded as refusal:
            self.refused += 1
            await asyncio.sleep(min(refusal.retry_after or 0, self.chance.uniform(1, 600)))
            return
        sheet.admissions.append(self.now())
        for count in sheet.counts:
            count.admitted(name, self.now(), event.reserved)
        await asyncio.sleep(self.chance.lognormvariate(2.5, 1))
        await self.limiter.settle(held, event.used(name))
        for count in sheet.counts:
            count.ended(name, "S", event.used(name))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_traffic_passes_no_limit_and_leaves_nothing_reserved(seed: int) -> None:
    day = Day(seed)
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(day.live())

    assert day.refused > 1000
    for sheet in day.sheets.values():
        assert sheet.over == 0
        assert len(sheet.admissions) > 100
        for count in sheet.counts:
            assert count.worst > count.limit.amount * 0.8, "its limit was hardly met"
            if isinstance(count, Budget):
                assert len(count.settled) == 2
    assert not day.limiter._open
