"""Slots by provider, over reloads; and a tenant that sends a hundred times as much as others."""

import asyncio
from random import Random
from statistics import quantiles
from typing import Any

import pytest

from gateway.contract.errors import ProviderBusy
from gateway.contract.provider import AnyProvider
from gateway.queueing import LaneState, Queues
from providers.vllm import VLLM, VLLMSettings


def provider(name: str, limit: int | None = 1, **queue: Any) -> AnyProvider:
    written = {"kind": "vllm", "base_url": "http://a.test", "max_concurrency": limit}
    return VLLM(name, VLLMSettings.model_validate({**written, "queue": queue}))


def now() -> float:
    return asyncio.get_running_loop().time()


A, B = provider("a"), provider("b", None)


async def test_each_provider_has_slots_of_its_own() -> None:
    queues = Queues(clock=now)

    taken = [queues.lane(each).take() for each in (A, A, B, B)]

    assert taken == [True, False, True, True]
    assert (queues.taken(), queues.waiting()) == (3, 0)
    assert queues.states() == {"a": LaneState(1, 0, 1), "b": LaneState(2, 0, None)}


async def test_what_is_given_back_can_be_taken() -> None:
    queues = Queues(clock=now)
    for _ in range(3):
        assert queues.lane(A).take()
        queues.lane(A).give_back()

    assert queues.taken() == 0


async def test_whoever_waits_is_not_overtaken() -> None:
    a, queues = provider("a", size=4), Queues(clock=now)
    queues.lane(a).take()
    async with asyncio.TaskGroup() as group:
        waits = group.create_task(queues.lane(a).wait("acme", now() + 9))
        await asyncio.sleep(1)
        assert queues.waiting() == 1

        queues.lane(a).give_back()

        assert not queues.lane(a).take()
        await waits
    assert (queues.taken(), queues.waiting()) == (1, 0)


async def test_a_reload_keeps_count_of_what_is_in_flight() -> None:
    queues = Queues(clock=now)
    queues.configure([provider("a", 2), B])
    queues.lane(A).take()
    queues.lane(A).take()

    queues.configure([provider("a", 3), B])

    assert [queues.lane(A).take(), queues.lane(A).take()] == [True, False]
    for _ in range(3):
        queues.lane(A).give_back()  # the snapshot of old
    assert queues.taken() == 0


async def test_a_provider_that_is_gone_is_forgotten_when_nobody_is_there() -> None:
    queues = Queues(clock=now)
    queues.configure([A, B])
    queues.lane(A).take()

    queues.configure([B])
    assert set(queues.states()) == {"a", "b"}
    queues.lane(A).give_back()
    queues.configure([B])

    assert set(queues.states()) == {"b"}


async def test_overload_reaches_the_limit_that_finds_itself() -> None:
    settings = {"kind": "vllm", "base_url": "http://a.test", "adaptive": {"start": 10}}
    adaptive, queues = VLLM("a", VLLMSettings.model_validate(settings)), Queues(clock=now)
    queues.lane(adaptive).take()

    queues.lane(adaptive).give_back(overloaded=True)

    assert queues.states()["a"].limit == 9


class Traffic:
    """Tenants that send at random to one provider, and how long each request took."""

    def __init__(self) -> None:
        self.provider = provider("a", 32, size=200, wait="30s")
        self.queues = Queues(clock=now)
        self.chance = Random(89)
        self.took: dict[str, list[float]] = {}

    async def run(self, rates: dict[str, float], seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            for tenant, rate in rates.items():
                group.create_task(self._send(group, tenant, rate, now() + seconds))

    async def _send(self, group: asyncio.TaskGroup, tenant: str, rate: float, until: float) -> None:
        while now() < until:
            await asyncio.sleep(self.chance.expovariate(rate))
            group.create_task(self._request(tenant))

    async def _request(self, tenant: str) -> None:
        began, lane = now(), self.queues.lane(self.provider)
        try:
            if not lane.take():
                await lane.wait(tenant, began + 600)
        except ProviderBusy:
            assert tenant == "noisy", "only who fills the line is refused"
            return
        await asyncio.sleep(self.chance.uniform(0.5, 1.5))
        lane.give_back()
        self.took.setdefault(tenant, []).append(now() - began)

    def slowest(self) -> float:
        """The 99th percentile of all but the noisy one."""
        quiet = [each for name, took in self.took.items() if name != "noisy" for each in took]
        return quantiles(quiet, n=100)[98]


async def test_one_tenant_at_100_times_the_rate_leaves_the_others_within_1_2_of_their_p99() -> None:
    others = {f"tenant-{number}": 0.5 for number in range(20)}
    alone, beside = Traffic(), Traffic()

    await alone.run(others, seconds=60)
    await beside.run(others | {"noisy": 50.0}, seconds=60)

    assert beside.slowest() <= 1.2 * alone.slowest()
    assert len(beside.took["noisy"]) > 60 * 15, "and what is left is the noisy one's"
    assert (beside.queues.taken(), beside.queues.waiting()) == (0, 0)


@pytest.mark.parametrize("size", [0, 3])
async def test_memory_is_bounded_whoever_comes(size: int) -> None:
    a, queues = provider("a", size=size), Queues(clock=now)
    queues.lane(a).take()
    loop = asyncio.get_running_loop()
    tasks = [
        loop.create_task(queues.lane(a).wait(f"t{number}", now() + 5)) for number in range(500)
    ]
    await asyncio.sleep(0)

    assert queues.waiting() == size
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, ProviderBusy) for each in ends)
    assert queues.waiting() == 0
