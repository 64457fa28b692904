"""
What a fault makes of an answer.

A stream is a sequence of steps: events, pauses, and perhaps a severed connection. A fault inside
a stream is another sequence made from the first, so the one who plays it knows no fault by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from .chat import DONE, Event
from .errors import error_body
from .faults import Fault

ERROR = error_body(500, "The simulator was told to fail.")
GARBAGE = b'{"id":"chatcmpl-'
PAGE = b"<!DOCTYPE html><title>Sign in</title><p>Please sign in to use this network.</p>"


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing for so many seconds; None is until the client leaves."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Sever:
    """The end of the connection, by FIN or by RST."""

    by_reset: bool


Step = Event | Pause | Sever


def script(events: Iterator[Event], fault: Fault | None) -> Iterator[Step]:
    """The steps of a stream that meets `fault`."""
    if fault is None:
        return events
    if fault.kind == "no_done" and fault.after == 0:
        return (event for event in events if event[0] is not DONE)
    before = islice(events, fault.after)
    half = _half(events) if fault.mid_event else ()
    return chain(before, half, _happening(fault), events if fault.kind in _GOES_ON else ())


def spoiled(body: bytes, fault: Fault) -> bytes:
    """The body of an answer that is no stream, after `fault`."""
    return {"garbage": GARBAGE, "error_event": ERROR}.get(fault.kind, body)


_GOES_ON = frozenset({"delay", "garbage", "abort"})


def _half(events: Iterator[Event]) -> Iterator[Event]:
    for raw, _ in islice(events, 1):
        yield raw[: len(raw) // 2], 0


def _happening(fault: Fault) -> tuple[Step, ...]:
    steps: dict[str, tuple[Step, ...]] = {
        "delay": (Pause(fault.seconds),),
        "stall": (Pause(None),),
        "cut": (Sever(by_reset=False),),
        "reset": (Sever(by_reset=True),),
        "garbage": ((b"data: " + GARBAGE + b"\n\n", 0),),
        "error_event": ((b"data: " + ERROR + b"\n\n", 0), (DONE, 0)),
    }
    return steps.get(fault.kind, ())
