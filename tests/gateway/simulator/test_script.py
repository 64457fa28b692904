from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.chat import DONE, Event
from gateway.simulator.faults import Fault, Kind
from gateway.simulator.script import ERROR, GARBAGE, Pause, Sever, Step, script, spoiled

EVENTS: list[Event] = [(b"data: %d\n\n" % number, 1) for number in range(5)] + [(DONE, 0)]


def play(
    kind: Kind, *, after: int = 2, mid_event: bool = False, drawn: list[Event] | None = None
) -> list[Step]:
    def events() -> Iterator[Event]:
        for event in EVENTS:
            if drawn is not None:
                drawn.append(event)
            yield event

    return list(script(events(), Fault(kind=kind, after=after, mid_event=mid_event)))


def test_without_a_fault_the_events_are_as_they_were() -> None:
    assert list(script(iter(EVENTS), None)) == EVENTS


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("delay", [Pause(1.0), *EVENTS[2:]]),
        ("stall", [Pause(None)]),
        ("cut", [Sever(by_reset=False)]),
        ("reset", [Sever(by_reset=True)]),
        ("garbage", [(b"data: " + GARBAGE + b"\n\n", 0), *EVENTS[2:]]),
        ("error_event", [(b"data: " + ERROR + b"\n\n", 0), (DONE, 0)]),
        ("no_done", []),
        ("abort", EVENTS[2:]),
    ],
)
def test_a_fault_happens_after_its_events(kind: Kind, rest: list[Step]) -> None:
    assert play(kind) == [*EVENTS[:2], *rest]


def test_no_done_without_after_leaves_out_done_alone() -> None:
    assert play("no_done", after=0) == EVENTS[:-1]


def test_half_of_the_next_event_is_sent_where_that_is_asked() -> None:
    assert play("cut", mid_event=True) == [*EVENTS[:2], (b"data", 0), Sever(by_reset=False)]


@given(after=st.integers(0, 10))
def test_what_is_not_sent_is_not_made(after: int) -> None:
    drawn: list[Event] = []

    play("cut", after=after, drawn=drawn)

    assert len(drawn) == min(after, len(EVENTS))


def test_a_body_is_spoiled_by_garbage_and_errors_only() -> None:
    assert spoiled(b"{}", Fault(kind="garbage")) == GARBAGE
    assert spoiled(b"{}", Fault(kind="error_event")) == ERROR
    assert spoiled(b"{}", Fault(kind="delay")) == b"{}"
