"""Tenants take turns, whatever the order in which they come, go and lose patience."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.queueing.turns import Turn, Turns

TENANTS = "abcd"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Futures need one, which never runs."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def joined(loop: asyncio.AbstractEventLoop, turns: Turns, tenants: str) -> dict[Turn, str]:
    who: dict[Turn, str] = {}
    for tenant in tenants:
        turn: Turn = loop.create_future()
        turns.join(tenant, turn)
        who[turn] = tenant
    return who


def order(turns: Turns, who: dict[Turn, str]) -> str:
    return "".join(who[turn] for turn in iter(turns.next, None))


@pytest.mark.parametrize(
    ("arrive", "served"),
    [("aaaab", "abaaa"), ("aaabbc", "abcaba"), ("abab", "abab"), ("a", "a"), ("", "")],
)
def test_tenants_take_turns(loop: asyncio.AbstractEventLoop, arrive: str, served: str) -> None:
    turns = Turns()

    who = joined(loop, turns, arrive)

    assert order(turns, who) == served


def test_a_tenants_own_requests_come_in_order(loop: asyncio.AbstractEventLoop) -> None:
    turns = Turns()

    who = joined(loop, turns, "aaaa")

    assert list(iter(turns.next, None)) == list(who)


def test_one_that_has_been_served_stands_behind_all_others(loop: asyncio.AbstractEventLoop) -> None:
    turns = Turns()
    who = joined(loop, turns, "ab")
    first = turns.next()
    assert first is next(iter(who))

    who |= joined(loop, turns, "a")

    assert order(turns, who) == "ba"


def test_one_that_has_given_up_costs_its_tenant_no_turn(loop: asyncio.AbstractEventLoop) -> None:
    turns = Turns()
    who = joined(loop, turns, "aabb")
    next(iter(who)).cancel()

    assert order(turns, who) == "abb"
    assert (len(turns), turns.tenants) == (0, 0)


def test_leaving_twice_is_as_good_as_once(loop: asyncio.AbstractEventLoop) -> None:
    turns = Turns()
    who = joined(loop, turns, "aab")
    first = next(iter(who))

    for _ in range(2):
        turns.leave("a", first)
        turns.leave("z", first)

    assert (len(turns), turns.of("a"), turns.of("b"), turns.of("z")) == (2, 1, 1, 0)


def test_the_newest_of_the_longest_line_is_pushed_out(loop: asyncio.AbstractEventLoop) -> None:
    turns = Turns()
    who = joined(loop, turns, "abbcb")

    assert turns.push_out() is list(who)[-1]
    assert (len(turns), turns.of("b")) == (4, 2)


def test_a_line_that_is_pushed_out_whole_is_forgotten(loop: asyncio.AbstractEventLoop) -> None:
    turns = Turns()
    joined(loop, turns, "a")

    turns.push_out()

    assert (len(turns), turns.tenants, turns.next()) == (0, 0, None)


events = st.lists(
    st.one_of(
        st.sampled_from(TENANTS).map(lambda tenant: ("join", tenant)),
        st.just(("next", "")),
        st.sampled_from(TENANTS).map(lambda tenant: ("leave", tenant)),
        st.sampled_from(TENANTS).map(lambda tenant: ("cancel", tenant)),
    ),
    max_size=60,
)


class Watched:
    """Turns, beside what they must agree with: lists of those who wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.turns = Turns()
        self.lines: dict[str, list[Turn]] = {tenant: [] for tenant in TENANTS}
        self.overtaken: defaultdict[str, set[str]] = defaultdict(set)
        """By waiting tenant: those who had a turn since it last had one, or began to wait."""

    def join(self, tenant: str) -> None:
        turn: Turn = self._loop.create_future()
        self.turns.join(tenant, turn)
        self.lines[tenant].append(turn)

    def leave(self, tenant: str) -> None:
        if self.lines[tenant]:
            self.turns.leave(tenant, self.lines[tenant].pop(len(self.lines[tenant]) // 2))
            self._forget_idle()

    def cancel(self, tenant: str) -> None:
        if self.lines[tenant]:
            self.lines[tenant].pop(0).cancel()  # its task has not run yet, so it still stands there
            self._forget_idle()

    def next(self, _: str) -> None:
        turn = self.turns.next()
        if turn is None:
            assert not any(self.lines.values()), "a turn was lost"
            return
        tenant = next(name for name, line in self.lines.items() if turn in line)
        assert self.lines[tenant].pop(0) is turn, "its own requests come in order"
        for other, line in self.lines.items():
            if line and other != tenant:
                assert tenant not in self.overtaken[other], f"{tenant} had two turns before {other}"
                self.overtaken[other].add(tenant)
        self.overtaken[tenant].clear()

    def _forget_idle(self) -> None:
        for tenant, line in self.lines.items():
            if not line:
                self.overtaken[tenant].clear()


@settings(max_examples=150, deadline=None)
@given(events=events)
def test_between_two_turns_of_one_tenant_every_other_that_waits_has_one(
    loop: asyncio.AbstractEventLoop, events: list[tuple[str, str]]
) -> None:
    watched = Watched(loop)

    for what, tenant in events:
        getattr(watched, what)(tenant)
    while any(watched.lines.values()):
        watched.next("")

    assert watched.turns.next() is None
    assert len(watched.turns) == 0
