"""One provider's slots: any order of arrivals, ends, hang-ups, time-outs and reloads."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.contract.errors import ProviderBusy
from gateway.contract.provider import ProviderSettings
from gateway.queueing.lane import LONGEST, Lane
from tests.support.virtual_time import VirtualTime

WAIT = 10.0
tenants = st.sampled_from("abc")
limits = st.one_of(st.none(), st.integers(1, 4))


def provider(limit: int | None, size: int, *, adaptive: bool = False) -> ProviderSettings:
    return ProviderSettings.model_validate(
        {
            "kind": "made-up",
            "base_url": "http://a.test",
            "max_concurrency": limit,
            "queue": {"size": size if limit or adaptive else 0, "wait": WAIT},
            "adaptive": {"start": 2, "max": 6} if adaptive else None,
        }
    )


@dataclass(eq=False)
class Visit:
    """One request: it has a slot from `entered` until it is told to go."""

    tenant: str
    entered: bool = False
    task: asyncio.Task[None] | None = None


class Visitors(RuleBasedStateMachine):
    """
    Requests come and go. Rules do not let the loop run, but for `let_run` and `pass_time`: what
    they do falls into one tick, in every order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTime()
        self.visits: list[Visit] = []
        self.waits_told: list[float | None] = []
        self.size = 0
        self.limit: int | None = None

    @initialize(limit=st.integers(1, 4), size=st.integers(0, 5), adaptive=st.booleans())
    def begin(self, limit: int, size: int, *, adaptive: bool) -> None:
        self.adaptive = adaptive
        self.size = size
        self.lane = Lane(provider(limit, size, adaptive=adaptive), self.loop.time)

    @rule(tenant=tenants, patience=st.sampled_from([0.0, 3.0, 100.0]))
    def come(self, tenant: str, patience: float) -> None:
        visit = Visit(tenant)
        self.visits.append(visit)
        visit.task = self.loop.create_task(self._enter(visit, self.loop.time() + patience))
        visit.task.add_done_callback(lambda _: self._left(visit))

    @rule(which=st.integers(0, 99), seconds=st.sampled_from([None, 0.1, 2.0]), over=st.booleans())
    def end(self, which: int, seconds: float | None, *, over: bool) -> None:
        inside = [visit for visit in self.visits if visit.entered]
        if inside:
            self.visits.remove(inside[which % len(inside)])
            self.lane.give_back(seconds=seconds, overloaded=over)

    @rule(which=st.integers(0, 99))
    def hang_up(self, which: int) -> None:
        waiting = [visit for visit in self.visits if not visit.entered]
        if waiting:
            task = waiting[which % len(waiting)].task
            assert task is not None
            task.cancel()

    @rule(limit=limits, size=st.integers(0, 5))
    def reload(self, limit: int | None, size: int) -> None:
        self.size = max(self.size, size)
        settings = provider(limit, size, adaptive=self.adaptive)
        self.lane.configure(settings)

    @rule()
    def let_run(self) -> None:
        self._run(asyncio.sleep(0))

    @rule(seconds=st.sampled_from([0.5, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self._run(asyncio.sleep(seconds))

    @invariant()
    def no_slot_is_free_while_somebody_waits(self) -> None:
        state = self.lane.state
        waits = any(not turn.done() for turn in self._turns())
        assert not (waits and (state.limit is None or state.in_flight < state.limit))

    @invariant()
    def whoever_is_refused_is_told_how_long_to_wait(self) -> None:
        assert all(told is not None and 1 <= told <= LONGEST for told in self.waits_told)

    @invariant()
    def the_line_is_bounded(self) -> None:
        assert self.lane.state.waiting <= self.size
        assert self.lane.state.waiting == len(self._turns())

    @invariant()
    def every_slot_has_a_holder_or_somebody_on_the_way_to_it(self) -> None:
        inside = sum(visit.entered for visit in self.visits)
        outside = sum(not visit.entered for visit in self.visits)
        assert inside <= self.lane.taken <= inside + outside

    def teardown(self) -> None:
        """All leave, half of them by hanging up: nothing is left."""
        try:
            self._leave()
        finally:
            self.loop.close()

    def _leave(self) -> None:
        for visit in self.visits[::2]:
            if not visit.entered and visit.task is not None:
                visit.task.cancel()
        for _ in range(1000):
            self._run(asyncio.sleep(0.01))
            if not self.visits:
                break
            self.end(0, None, over=False)
        self._run(asyncio.sleep(0))
        assert self.visits == []
        assert (self.lane.state.in_flight, self.lane.state.waiting) == (0, 0)
        assert self.lane.is_idle

    async def _enter(self, visit: Visit, until: float) -> None:
        try:
            taken = self.lane.state.in_flight
            limit = self.lane.state.limit
            if self.lane.take():
                assert limit is None or taken < limit
            else:
                await self.lane.wait(visit.tenant, until)
            visit.entered = True
        except ProviderBusy as busy:
            self.waits_told.append(busy.retry_after)

    def _left(self, visit: Visit) -> None:
        if not visit.entered:
            self.visits.remove(visit)

    def _turns(self) -> list[Any]:
        return [turn for line in self.lane._turns._circle.values() for turn in line]

    def _run(self, until: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(until)


Visitors.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWhateverHappensNoSlotAndNoTurnIsLost = Visitors.TestCase


async def held(lane: Lane, tenant: str = "a", *, patience: float = 1e3) -> None:
    if not lane.take():
        await lane.wait(tenant, asyncio.get_running_loop().time() + patience)


def lane_of(limit: int | None, size: int, *, adaptive: bool = False) -> Lane:
    settings = provider(limit, size, adaptive=adaptive)
    return Lane(settings, asyncio.get_running_loop().time)


async def waiting(
    owner: asyncio.TaskGroup | asyncio.AbstractEventLoop, lane: Lane, tenants: str
) -> list[asyncio.Task[None]]:
    tasks = [owner.create_task(held(lane, tenant)) for tenant in tenants]
    await asyncio.sleep(0)
    return tasks


async def ends_busy(task: asyncio.Task[None]) -> ProviderBusy:
    error = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(error, ProviderBusy)
    return error


async def test_without_a_line_whoever_comes_too_late_is_refused_at_once() -> None:
    lane = lane_of(2, size=0)
    await held(lane)
    await held(lane)
    began = asyncio.get_running_loop().time()

    with pytest.raises(ProviderBusy) as busy:
        await held(lane)

    assert busy.value.retry_after == 1
    assert asyncio.get_running_loop().time() == began


async def test_a_slot_goes_to_the_tenant_whose_turn_it_is() -> None:
    lane = lane_of(1, size=9)
    await held(lane)
    async with asyncio.TaskGroup() as group:
        noisy, again, other = await waiting(group, lane, "aab")
        ended = []
        for task in (noisy, other, again):
            lane.give_back()
            await task
            ended.append(sum(each.done() for each in (noisy, again, other)))

    assert ended == [1, 2, 3]


async def test_a_full_line_refuses_those_who_hold_their_share_of_it() -> None:
    lane = lane_of(1, size=4)
    await held(lane)
    loop = asyncio.get_running_loop()
    tasks = await waiting(loop, lane, "aaaa")
    await ends_busy(loop.create_task(held(lane, "a")))
    tasks += await waiting(loop, lane, "b")
    newest = await ends_busy(tasks.pop(3))
    tasks += await waiting(loop, lane, "b")
    await ends_busy(tasks.pop(2))
    await ends_busy(loop.create_task(held(lane, "b")))
    for _ in tasks:
        lane.give_back()
    await asyncio.gather(*tasks)

    assert newest.retry_after is not None
    assert lane.state == (1, 0, 1)


@pytest.mark.parametrize(("patience", "waited"), [(1e3, WAIT), (2.0, 2.0), (0.0, 0.0)])
async def test_nobody_waits_for_longer_than_the_line_or_the_request_allows(
    patience: float, waited: float
) -> None:
    lane = lane_of(1, size=4)
    await held(lane)
    began = asyncio.get_running_loop().time()

    with pytest.raises(ProviderBusy):
        await held(lane, patience=patience)

    assert asyncio.get_running_loop().time() - began == pytest.approx(waited)
    assert lane.state == (1, 0, 1)


async def test_nobody_waits_for_a_provider_that_has_stopped() -> None:
    lane = lane_of(1, size=4)
    await held(lane)
    await asyncio.sleep(30)
    began = asyncio.get_running_loop().time()

    with pytest.raises(ProviderBusy) as busy:
        await held(lane)

    assert asyncio.get_running_loop().time() == began
    assert busy.value.retry_after is not None
    assert busy.value.retry_after >= 30


async def served(lane: Lane, seconds: float, requests: int) -> None:
    """So many, one after the other in each slot."""
    for _ in range(requests):
        await held(lane)
    for _ in range(20):
        await asyncio.sleep(seconds / requests)
        lane.give_back()
        await held(lane)


async def test_what_would_wait_too_long_is_refused_before_it_has_waited() -> None:
    lane = lane_of(2, size=50)
    await served(lane, seconds=3.8, requests=2)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        tasks = await waiting(group, lane, "abcde")
        began = loop.time()

        busy = await ends_busy(loop.create_task(held(lane, "f")))

        assert loop.time() == began
        assert busy.retry_after is not None
        assert 10 <= busy.retry_after <= 13  # six turns of 1.9 s each
        for _ in tasks:
            await asyncio.sleep(1.9)
            lane.give_back()


async def test_a_tenant_alone_does_not_lengthen_the_wait_of_another() -> None:
    lane = lane_of(2, size=50)
    await served(lane, seconds=3.8, requests=2)
    async with asyncio.TaskGroup() as group:
        tasks = await waiting(group, lane, "aaaa")
        tasks += await waiting(group, lane, "b")  # its estimate is two turns, not five
        assert not any(task.done() for task in tasks)
        for _ in tasks:
            await asyncio.sleep(1.9)
            lane.give_back()


async def test_a_slot_that_came_to_one_who_has_just_left_is_the_next_ones() -> None:
    lane = lane_of(1, size=4)
    await held(lane)
    async with asyncio.TaskGroup() as group:
        first, second = await waiting(group, lane, "ab")
        lane.give_back()
        first.cancel()
        await second

    assert first.cancelled()
    assert lane.state == (1, 0, 1)


async def test_a_higher_limit_lets_those_in_who_wait() -> None:
    lane = lane_of(1, size=4)
    await held(lane)
    async with asyncio.TaskGroup() as group:
        tasks = await waiting(group, lane, "abc")
        lane.configure(provider(3, 4))
        await asyncio.sleep(0)
        assert sum(task.done() for task in tasks) == 2
        lane.configure(provider(None, 0))

    assert lane.state == (4, 0, None)


async def test_a_lower_limit_takes_no_slot_from_anybody() -> None:
    lane = lane_of(3, size=4)
    for _ in range(3):
        await held(lane)
    lane.configure(provider(1, 4))
    async with asyncio.TaskGroup() as group:
        (task,) = await waiting(group, lane, "a")
        for _ in range(2):
            lane.give_back()
            await asyncio.sleep(0)
            assert not task.done()
        lane.give_back()

    assert lane.state == (1, 0, 1)


async def test_a_limit_that_grows_by_itself_lets_in_who_waits() -> None:
    lane = lane_of(None, size=9, adaptive=True)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            await held(lane)
        tasks = await waiting(group, lane, "aaaaaa")
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.1)
            lane.give_back(seconds=0.1)

    assert lane.state.limit is not None
    assert lane.state.limit > 2


async def test_a_limit_that_has_found_itself_outlives_a_reload() -> None:
    lane = lane_of(6, size=9, adaptive=True)
    for _ in range(2):
        await held(lane)
    for _ in range(9):
        lane.give_back(seconds=0.1)
        await held(lane)
    grown = lane.state.limit

    lane.configure(provider(5, 9, adaptive=True))

    assert grown is not None
    assert grown > 2
    assert lane.state.limit == min(grown, 5)


async def test_where_more_tenants_come_than_there_are_places_the_first_stay() -> None:
    lane = lane_of(1, size=2)
    await held(lane)
    async with asyncio.TaskGroup() as group:
        first = await waiting(group, lane, "ab")
        await ends_busy(asyncio.get_running_loop().create_task(held(lane, "c")))
        for _ in first:
            lane.give_back()

    assert lane.state == (1, 0, 1)


async def test_what_was_never_measured_refuses_nobody() -> None:
    lane = lane_of(None, size=0)
    await held(lane)
    await asyncio.sleep(300)
    lane.configure(provider(1, 4))
    async with asyncio.TaskGroup() as group:
        (task,) = await waiting(group, lane, "a")
        assert not task.done()
        lane.give_back()
