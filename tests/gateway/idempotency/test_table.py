"""What one process knows: bounded, whatever comes, and nothing forgotten before its time."""

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.contract.errors import IdempotencyConflict
from gateway.idempotency import IdempotencySettings, Kept, Ticket
from gateway.idempotency.kept import OVERHEAD
from gateway.idempotency.table import Running, Table
from tests.gateway.idempotency.conftest import Clock, ticket

WINDOW, MEMORY, ENTRIES = 10.0, 8 * OVERHEAD, 6
SETTINGS = IdempotencySettings(
    window=WINDOW, max_answer=MEMORY // 2, max_memory=MEMORY, max_entries=ENTRIES
)


def answer(size: int) -> Kept:
    return Kept("id", 200, (), bytes(size))


def table(clock: Clock | None = None, dropped: list[Ticket] | None = None) -> Table:
    heard: list[Ticket] = [] if dropped is None else dropped
    return Table(SETTINGS, clock or Clock(), heard.append)


async def test_a_request_that_runs_is_found_running_and_then_its_answer() -> None:
    made = table()
    running = made.begin(ticket())
    assert made.find(ticket()) is running

    made.finish(running, answer(1))

    assert made.find(ticket()) == answer(1) == await running.done


async def test_one_that_came_to_nothing_may_be_run_again() -> None:
    made = table()
    running = made.begin(ticket())
    assert made.grow(running, 100)

    made.free(running)

    assert made.find(ticket()) is None
    assert await running.done is None
    assert made.held == len(made) == 0


@pytest.mark.parametrize("is_running", [True, False])
async def test_another_body_is_a_conflict_while_it_runs_and_afterwards(is_running: bool) -> None:
    made = table()
    running = made.begin(ticket(body="one"))
    if not is_running:
        made.finish(running, answer(1))

    with pytest.raises(IdempotencyConflict) as refused:
        made.find(ticket(body="other"))
    assert refused.value.code == "idempotency_key_reused"


async def test_an_answer_that_is_not_kept_is_refused_and_never_run_again() -> None:
    made = table()
    made.finish(made.begin(ticket()), None)

    with pytest.raises(IdempotencyConflict) as refused:
        made.find(ticket())
    assert refused.value.code == "idempotency_answer_gone"


async def test_everything_is_forgotten_when_its_window_has_passed() -> None:
    clock = Clock()
    dropped: list[Ticket] = []
    made = table(clock, dropped)
    made.finish(made.begin(ticket()), answer(1))

    clock.now += WINDOW

    assert made.find(ticket()) is None
    assert made.held == len(made) == 0
    assert dropped == []


async def test_the_oldest_answer_is_dropped_for_a_new_one_and_its_end_is_told() -> None:
    dropped: list[Ticket] = []
    made = table(None, dropped)
    for name in "abc":
        made.finish(made.begin(ticket(name)), answer(2 * OVERHEAD))

    assert dropped == [ticket("a")]
    with pytest.raises(IdempotencyConflict):
        made.find(ticket("a"))
    assert made.find(ticket("b")) == made.find(ticket("c")) == answer(2 * OVERHEAD)


class Machine(RuleBasedStateMachine):
    """Anything may happen in any order: the bounds hold, and what is told is true."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.dropped: list[Ticket] = []
        self.table = table(self.clock, self.dropped)
        self.running: dict[str, Running] = {}
        self.ended: dict[str, tuple[float, Kept | None]] = {}

    def teardown(self) -> None:
        self.loop.close()

    @rule(name=st.sampled_from("abcdefghijkl"))
    def begin(self, name: str) -> None:
        try:
            found = self.table.find(ticket(name))
        except IdempotencyConflict:
            assert name in self.ended
            return
        if found is None:
            self.running[name] = self.loop.run_until_complete(self._begun(name))
            self.ended.pop(name, None)
        elif isinstance(found, Kept):
            until, kept = self.ended[name]
            assert found == kept
            assert self.clock.now < until
        else:
            assert found is self.running[name]

    async def _begun(self, name: str) -> Running:
        return self.table.begin(ticket(name))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.integers(0, 2 * MEMORY))
    def grow(self, data: st.DataObject, size: int) -> None:
        running = self._drawn(data)
        before = running.size
        has_room = self.table.grow(running, size)
        assert running.size == before + (size if has_room else 0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.none() | st.integers(0, MEMORY))
    def finish(self, data: st.DataObject, size: int | None) -> None:
        running = self._drawn(data)
        name = next(name for name, each in self.running.items() if each is running)
        del self.running[name]
        kept = None if size is None else answer(size)
        self.table.finish(running, kept)
        self.ended[name] = (self.clock.now + WINDOW, kept)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        running = self._drawn(data)
        self.running = {name: each for name, each in self.running.items() if each is not running}
        self.table.free(running)

    @rule(seconds=st.floats(0, WINDOW))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def _drawn(self, data: st.DataObject) -> Running:
        return self.running[data.draw(st.sampled_from(sorted(self.running)))]

    @invariant()
    def the_bounds_hold(self) -> None:
        answers = self.table._answers.values()
        copied = sum(each.size for each in self.running.values())
        assert self.table.held == copied + sum(each.size for each in answers)
        assert self.table.held <= MEMORY
        assert len(self.table) <= ENTRIES + len(self.running)


Machine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestTable = Machine.TestCase
