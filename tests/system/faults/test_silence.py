"""Rows 5 to 8 and 35: upstreams that say nothing, or nothing more."""

import time

import pytest

from tests.support.toxic import Toxic
from tests.system.faults.answers import HEAD, ROLE, SAID, STOP, TEXT, begun, stream
from tests.system.faults.bench import PATIENT, Bench, body
from tests.system.faults.upstreams import Reply, cut, drip, fall_silent

WHOLE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
SILENT_STARTS: dict[str, Reply] = {
    "05-accepts-and-never-answers": fall_silent(),
    "06-headers-trickle": drip([bytes([each]) for each in HEAD + b"x" * 1000], pause=0.1),
    "07-headers-and-no-body": fall_silent(HEAD),
    "07-headers-and-no-body-of-a-whole": fall_silent(WHOLE_HEAD),
    "07-part-of-a-body": fall_silent(WHOLE_HEAD + b'{"id"'),
    "08-stalls-after-its-role": fall_silent(begun(ROLE)),
    "08-comments-and-no-content": drip([HEAD, *[b"2\r\n:\n\r\n"] * 1000], pause=0.1),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_05_06_07_never_answers_is_somebody_elses_after_its_time(
    world: Bench, *, stream: bool
) -> None:
    cases = [
        name
        for name in SILENT_STARTS
        if stream != ("whole" in name or "part" in name) or name[:2] in {"05", "06"}
    ]
    world.a.says_each(SILENT_STARTS)
    counter = 'lockgate_ambiguous_retries_total{target="brisk-a/demo-model"}'
    before = world.gateway.metrics().get(counter, 0)
    began = time.monotonic()

    told = world.ask_cases("brisk-ab", cases, stream=stream)

    assert time.monotonic() - began >= PATIENT * 0.99
    for case, each in told.items():
        assert (each.is_whole, each.attempts) == (True, 2), case
        record = world.record(each)
        assert [one["error"] for one in record["attempts"]] == ["upstream_timeout", None], case
        assert record["attempts"][0]["ms"] >= PATIENT * 990  # timers may fire a little early
    assert world.a.asked == world.b.asked == len(cases)
    assert world.gateway.metrics()[counter] == before + len(cases)


def test_05_never_answers_and_nobody_else_does_is_a_gateways_timeout(world: Bench) -> None:
    world.a.says(fall_silent())

    for told in world.ask_both("brisk"):
        assert (told.status, told.code) == (504, "upstream_timeout")
        assert told.error is not None
        assert told.error["type"] == "timeout"
        assert (told.attempts, told.headers["x-should-retry"]) == (1, "false")
        record = world.record(told)
        assert (record["outcome"], record["completion_tokens"]) == ("failed", 0)


def test_05_never_answers_is_tried_once_more_and_no_oftener(world: Bench) -> None:
    """It may have been worked on: only one other is asked, though there are two."""
    world.a.says(fall_silent())
    world.b.says(fall_silent())

    for told in world.ask_both("brisk-abc"):
        assert (told.status, told.code, told.attempts) == (504, "upstream_timeout", 2)
    assert (world.a.asked, world.b.asked, world.c.asked) == (2, 2, 0)


@pytest.mark.parametrize("count", [1, 4])
def test_08_stalls_mid_stream_ends_in_an_error_after_what_came(world: Bench, count: int) -> None:
    world.a.says(fall_silent(begun(ROLE, *SAID[:count])))

    told = world.ask("brisk-ab", stream=True)

    assert (told.status, told.attempts, told.code) == (200, 1, "upstream_stalled")
    assert len(told.events) == 1 + count + 1
    assert told.said == "".join(("Once", " upon", " a", " time")[:count])
    record = world.record(told)
    assert (record["outcome"], record["error"]) == ("cut", "upstream_stalled")
    assert (record["usage_source"], record["completion_tokens"]) == ("counted", count)
    assert world.b.asked == 0


def test_08_comments_are_signs_of_life(world: Bench) -> None:
    """So long in all that a stall would have ended it twice."""
    comments = [b"2\r\n:\n\r\n"] * 21
    pieces = [begun(ROLE, SAID[0]), *comments, stream(*SAID[1:], STOP, b"data: [DONE]\n\n")]
    pieces[-1] = pieces[-1].partition(b"\r\n\r\n")[2]
    world.a.says(drip(pieces, pause=0.1))
    began = time.monotonic()

    told = world.ask("brisk-ab", stream=True)

    assert (told.is_whole, told.attempts) == (True, 1)
    assert time.monotonic() - began >= 2 * PATIENT


def test_08_a_connection_that_ends_without_anyone_being_told_is_a_stall(world: Bench) -> None:
    world.line.toxic = Toxic(is_half_open=True)
    world.a.says(cut(begun(ROLE, *SAID)))

    told = world.ask("brisk-far-b", stream=True)

    assert (told.said, told.code) == (TEXT, "upstream_stalled")


# Row 35


def test_35_connections_that_a_router_has_forgotten_cost_nobody_an_answer(world: Bench) -> None:
    """All at once, and neither end is told."""
    world.line.toxic = Toxic(latency=0.05)
    assert all(each.is_whole for each in world.ask_all([body("far") for _ in range(4)]))
    world.line.toxic = Toxic()
    dead = world.line.carried
    world.line.forget()

    told = [*world.ask_all([body("brisk-far-b") for _ in range(2 * dead)]), world.ask("far")]

    assert all(each.is_whole for each in told)
    assert told[-1].attempts == 1


def test_35_the_first_that_turns_out_dead_takes_its_elders_along(world: Bench) -> None:
    """A silence that is short says nothing: it may be a long prompt."""
    world.line.toxic = Toxic(latency=0.05)
    assert all(each.is_whole for each in world.ask_all([body("far") for _ in range(10)]))
    world.line.toxic = Toxic()
    assert world.line.carried >= 10
    world.line.forget()

    told = [world.ask("less-brisk-far-b") for _ in range(4)]

    assert all(each.is_whole for each in told)
    assert [each.attempts for each in told] == [2, 1, 1, 1]
