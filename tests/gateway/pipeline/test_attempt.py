"""An attempt ends in an answer that has content, or in an error that says what may follow."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import (
    ProviderDisconnected,
    ProviderError,
    ProviderFailed,
    ProviderGarbled,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimedOut,
)
from gateway.pipeline import Streamed, Whole
from gateway.pipeline.attempt import MAX_ERROR, MAX_HELD, MAX_NOTED, MAX_WHOLE
from providers.vllm import VLLM
from tests.support.pipeline import (
    DONE,
    FINISH,
    GOOD,
    GOOD_WHOLE,
    MESSAGES,
    ROLE,
    SSE,
    STREAM,
    Gate,
    Says,
    Step,
    chunk,
    completion,
    event,
    pipeline_of,
    refuses,
    says_whole,
    streams,
    text,
)

RESET = httpx.ReadError("reset")
EMPTY = chunk(content="")
LONG = b"data: " + b"a" * (1 << 20)
TRICKLE: list[Step] = [ROLE, 10.0] * 20
SLOW: list[Step] = [text("x"), 10.0] * 20
COMMENT = b": still here\n\n"
RATE_LIMITED = {"error": {"message": "slow down", "type": "rate_limit_error", "code": "429"}}
NO_ATTEMPTS_MORE = {"attempts": 1}


def raises(error: type[ProviderError], code: str | None) -> Callable[[BaseException], bool]:
    return lambda raised: type(raised) is error and raised.code == code


WITHOUT_CONTENT = [
    pytest.param((ROLE, EMPTY), id="role and empty deltas"),
    pytest.param((COMMENT, COMMENT), id="comments"),
    pytest.param((event({"choices": []}),), id="an event without choices"),
    pytest.param(
        (event({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),), id="{}"
    ),
    pytest.param((), id="nothing"),
]
ENDS: list[tuple[str, tuple[Step, ...], type[ProviderError], str]] = [
    ("the end", (), ProviderDisconnected, "upstream_disconnected"),
    ("an end inside an event", (b'data: {"cho',), ProviderDisconnected, "upstream_disconnected"),
    ("a reset", (RESET,), ProviderDisconnected, "upstream_disconnected"),
    ("an end marker", (DONE,), ProviderGarbled, "upstream_incomplete"),
    ("no JSON", (b"data: {]\n\n",), ProviderGarbled, "upstream_invalid_event"),
    ("an error", (event(RATE_LIMITED),), ProviderRateLimited, "rate_limit_exceeded"),
    ("an abort", (chunk(reason="abort"),), ProviderFailed, "upstream_aborted"),
    ("an endless line", (LONG,), ProviderGarbled, "upstream_event_too_large"),
]


@pytest.mark.parametrize("silence", WITHOUT_CONTENT)
@pytest.mark.parametrize(
    ("end", "error", "code"), [pytest.param(*rest, id=name) for name, *rest in ENDS]
)
async def test_what_ends_a_stream_before_its_content_goes_to_the_next_target(
    silence: tuple[Step, ...], end: tuple[Step, ...], error: type[ProviderError], code: str
) -> None:
    bench = pipeline_of(streams(*silence, *end), GOOD)

    await bench.ask()

    assert bench.upstreams.asked == ["a", "b"]
    assert bench.relayed == list(STREAM)
    assert [each.error for each in bench.record.attempts] == [code, None]
    bench.check_nothing_is_left()


@pytest.mark.parametrize(
    ("end", "error", "code"), [pytest.param(*rest, id=name) for name, *rest in ENDS]
)
async def test_what_ends_a_stream_after_its_content_is_raised_when_the_rest_is_out(
    end: tuple[Step, ...], error: type[ProviderError], code: str
) -> None:
    bench = pipeline_of(streams(ROLE, text("Hel"), text("lo"), *end), GOOD)

    with pytest.raises(error, check=raises(error, code)):
        await bench.ask()

    assert bench.upstreams.asked == ["a"]
    assert bench.relayed == [ROLE, text("Hel"), text("lo")]
    assert (bench.record.outcome, bench.record.status) == ("cut", 200)
    assert bench.record.error == bench.record.attempts[0].error == code
    bench.check_nothing_is_left()


async def test_what_stands_before_an_error_in_one_read_is_handed_out_first() -> None:
    bench = pipeline_of(streams(text("Hel") + text("lo") + event(RATE_LIMITED) + text("!")))

    with pytest.raises(ProviderRateLimited):
        await bench.ask()

    assert bench.relayed == [text("Hel"), text("lo")]


@pytest.mark.parametrize(
    "content",
    [
        text("x"),
        FINISH,
        chunk(reason="length"),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ""}}]),
        chunk(reasoning_content="hm"),
        chunk(refusal="no"),
    ],
)
async def test_any_field_but_the_role_and_any_finish_reason_is_content(content: bytes) -> None:
    gate = Gate()
    bench = pipeline_of(streams(ROLE, content, gate, FINISH, DONE))
    request = bench.request()

    async with request:
        answer = await request.answer(bench.caller, BODY, stream=True)
        assert isinstance(answer, Streamed)
        assert [raw for raw, _ in answer.held] == [ROLE, content]
        assert not gate.reached.is_set()
        gate.open()
        await bench.relay(answer)

    bench.check_nothing_is_left()


BODY = {"model": "chat", "messages": MESSAGES}


@given(cuts=st.lists(st.integers(1, len(b"".join(STREAM)) - 1), max_size=8))
async def test_a_stream_cut_anywhere_is_relayed_as_it_is(cuts: list[int]) -> None:
    whole = b"".join(STREAM)
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    bench = pipeline_of(streams(*pieces))

    await bench.ask()

    assert b"".join(bench.relayed) == whole
    assert (bench.record.prompt_tokens, bench.record.completion_tokens) == (7, 2)
    bench.check_nothing_is_left()


@given(at=st.integers(0, len(b"".join(STREAM)) - 1))
async def test_a_stream_that_ends_anywhere_hands_out_whole_events_only(at: int) -> None:
    bench = pipeline_of(streams(b"".join(STREAM)[:at], RESET), retries=NO_ATTEMPTS_MORE)

    with pytest.raises(ProviderDisconnected):
        await bench.ask()

    relayed = b"".join(bench.relayed)
    assert b"".join(STREAM).startswith(relayed)
    assert relayed == b"" or (len(relayed) <= at and relayed.endswith(b"\n\n"))
    assert bool(relayed) == (at >= len(ROLE + text("Hel")))
    bench.check_nothing_is_left()


async def test_a_stream_that_is_closed_without_an_end_marker_is_given_one() -> None:
    bench = pipeline_of(streams(text("Hello"), FINISH))

    await bench.ask()

    assert bench.relayed == [text("Hello"), FINISH, DONE]
    assert bench.record.outcome == "ok"


async def test_what_is_held_back_has_a_bound() -> None:
    padding = b": " + b"x" * (MAX_HELD // 2) + b"\n\n"
    bench = pipeline_of(streams(padding, padding, text("late")), retries=NO_ATTEMPTS_MORE)

    with pytest.raises(ProviderGarbled) as raised:
        await bench.ask()

    assert raised.value.code == "upstream_response_too_large"
    bench.check_nothing_is_left()


def typed(says: Says, content_type: str | None) -> Says:
    return replace(says, headers={} if content_type is None else {"content-type": content_type})


WHOLE_FAULTS = [
    (typed(GOOD_WHOLE, "text/html"), ProviderGarbled, "upstream_unexpected_content_type"),
    (typed(GOOD_WHOLE, None), ProviderGarbled, "upstream_unexpected_content_type"),
    (GOOD, ProviderGarbled, "upstream_unexpected_content_type"),
    (says_whole(RATE_LIMITED), ProviderRateLimited, "rate_limit_exceeded"),
    (says_whole({"error": {"message": "?"}}), ProviderFailed, "upstream_error"),
    (says_whole(b'{"choices": ['), ProviderGarbled, "upstream_invalid_event"),
    (says_whole(completion(reason=None)), ProviderGarbled, "upstream_incomplete"),
    (says_whole(completion(reason="abort")), ProviderFailed, "upstream_aborted"),
    (says_whole({"choices": []}), ProviderGarbled, "upstream_incomplete"),
    (
        Says((b'{"choices"', RESET), 200, {"content-type": "application/json"}),
        ProviderGarbled,
        "upstream_truncated",
    ),
    (says_whole(b" " * (MAX_WHOLE + 1)), ProviderGarbled, "upstream_response_too_large"),
]


@pytest.mark.parametrize(("says", "error", "code"), WHOLE_FAULTS)
async def test_a_whole_answer_is_judged_before_any_of_it_is_sent_on(
    says: Says, error: type[ProviderError], code: str
) -> None:
    bench = pipeline_of(says, retries=NO_ATTEMPTS_MORE)

    with pytest.raises(error, check=raises(error, code)):
        await bench.ask(stream=False)

    assert bench.relayed == []
    assert (bench.record.outcome, bench.record.error) == ("failed", code)
    bench.check_nothing_is_left()


@pytest.mark.parametrize("says", [each for each, *_ in WHOLE_FAULTS])
async def test_a_whole_answer_that_is_no_good_goes_to_the_next_target(says: Says) -> None:
    bench = pipeline_of(says, GOOD_WHOLE)

    answer = await bench.ask(stream=False)

    assert isinstance(answer, Whole)
    assert bench.relayed == [orjson.dumps(completion())]
    assert bench.upstreams.asked == ["a", "b"]
    bench.check_nothing_is_left()


@pytest.mark.parametrize(
    ("says", "error", "code"),
    [
        (says_whole(RATE_LIMITED), ProviderRateLimited, "rate_limit_exceeded"),
        (GOOD_WHOLE, ProviderGarbled, "upstream_unexpected_content_type"),
        (typed(GOOD, "text/plain"), ProviderGarbled, "upstream_unexpected_content_type"),
        (says_whole(b" " * (MAX_ERROR + 1)), ProviderGarbled, "upstream_response_too_large"),
        (
            says_whole({"error": {"message": "no", "type": "invalid_request_error"}}),
            ProviderRejected,
            None,
        ),
    ],
)
async def test_what_comes_in_place_of_a_stream_is_read_for_an_error(
    says: Says, error: type[ProviderError], code: str | None
) -> None:
    bench = pipeline_of(says, retries=NO_ATTEMPTS_MORE)

    with pytest.raises(error, check=raises(error, code)):
        await bench.ask()

    bench.check_nothing_is_left()


async def test_an_errors_body_is_read_within_a_bound() -> None:
    huge = Says((b"x" * MAX_ERROR, b"x"), 503, {"content-type": "text/plain"})
    bench = pipeline_of(huge, retries=NO_ATTEMPTS_MORE)

    with pytest.raises(ProviderGarbled) as raised:
        await bench.ask()

    assert raised.value.code == "upstream_response_too_large"
    assert bench.record.attempts[0].status == 503
    bench.check_nothing_is_left()


async def test_a_media_type_may_have_parameters_and_any_case() -> None:
    bench = pipeline_of(typed(GOOD, "Text/Event-Stream;charset=UTF-8"))

    await bench.ask()

    assert bench.record.outcome == "ok"


async def test_headers_that_a_provider_names_are_noted_and_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(VLLM, "recorded_headers", ("x-who", "x-absent"))
    bench = pipeline_of(Says(STREAM, headers={"content-type": SSE, "X-Who": "w" * 1000}))

    await bench.ask()

    assert bench.record.attempts[0].noted == {"x-who": "w" * MAX_NOTED}


# Deadlines, in virtual time. Defaults: 60 s to content streamed, 600 s whole, 30 s of stall.


@pytest.mark.parametrize(
    ("says", "stream", "after"),
    [
        (streams(before=(1e6,)), True, 60.0),
        (streams(1e6), True, 60.0),
        (streams(*TRICKLE, *STREAM), True, 60.0),
        (says_whole(completion(), before=(1e6,)), False, 600.0),
        (Says((b"{", 1e6), 200, {"content-type": "application/json"}), False, 600.0),
        (replace(refuses(503), steps=(1e6,)), True, 60.0),
    ],
)
async def test_no_content_in_time_ends_an_attempt_wherever_it_waits(
    says: Says, stream: bool, after: float
) -> None:
    bench = pipeline_of(says, retries=NO_ATTEMPTS_MORE)
    clock = asyncio.get_running_loop().time
    began = clock()

    with pytest.raises(ProviderTimedOut) as raised:
        await bench.ask(stream=stream)

    assert clock() - began == pytest.approx(after)
    assert raised.value.code == "upstream_timeout"
    assert bench.record.status == 504
    bench.check_nothing_is_left()


@pytest.mark.parametrize("silence", [(), (ROLE,), (COMMENT,)])
async def test_a_stall_before_content_goes_to_the_next_target(silence: tuple[Step, ...]) -> None:
    bench = pipeline_of(streams(*silence, 1e6), GOOD)

    await bench.ask()

    assert [each.error for each in bench.record.attempts] == ["upstream_timeout", None]
    assert bench.record.attempts[0].ended - bench.record.attempts[0].started == pytest.approx(60)
    bench.check_nothing_is_left()


@pytest.mark.parametrize("events", [1, 2, 17])
async def test_a_stall_after_content_ends_the_stream(events: int) -> None:
    said = [text("x")] * events
    bench = pipeline_of(streams(*said, 31.0, FINISH, DONE), GOOD)
    clock = asyncio.get_running_loop().time
    began = clock()

    with pytest.raises(ProviderTimedOut) as raised:
        await bench.ask()

    assert clock() - began == pytest.approx(30)
    assert raised.value.code == "upstream_stalled"
    assert bench.relayed == said
    assert bench.upstreams.asked == ["a"]
    bench.check_nothing_is_left()


async def test_a_stream_that_keeps_talking_does_not_stall_and_comments_are_talk() -> None:
    said: list[Step] = [text("x"), 29.0, COMMENT, 29.0, text("y"), 29.0, FINISH, DONE]
    bench = pipeline_of(streams(*said))

    await bench.ask()

    assert bench.relayed == [each for each in said if isinstance(each, bytes)]


async def test_the_whole_request_has_a_deadline_too() -> None:
    bench = pipeline_of(streams(*SLOW), timeouts={"total": 95.0})
    clock = asyncio.get_running_loop().time
    began = clock()

    with pytest.raises(ProviderTimedOut) as raised:
        await bench.ask()

    assert raised.value.code == "upstream_timeout"
    assert clock() - began == pytest.approx(95)
    assert len(bench.relayed) == 10
    bench.check_nothing_is_left()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_is_slow_is_not_held_against_the_upstream(stream: bool) -> None:
    bench = pipeline_of(
        GOOD if stream else GOOD_WHOLE, timeouts={"first_content": 1.0, "stall": 1.0, "total": 1e6}
    )
    request = bench.request()

    async with request:
        answer = await request.answer(bench.caller, BODY, stream=stream)
        await asyncio.sleep(1000.0)
        if isinstance(answer, Streamed):
            assert await answer.rest.next()
            await asyncio.sleep(1000.0)
        await bench.relay(answer)

    assert bench.record.outcome == "ok"
    bench.check_nothing_is_left()


async def test_an_end_of_transfer_that_does_not_come_is_not_waited_for_long() -> None:
    bench = pipeline_of(streams(*STREAM, 1e6))
    clock = asyncio.get_running_loop().time
    began = clock()

    await bench.ask()

    assert clock() - began == pytest.approx(1.0)
    assert bench.record.outcome == "ok"
    bench.check_nothing_is_left()


async def test_what_comes_after_the_end_marker_is_read_and_dropped() -> None:
    bench = pipeline_of(streams(*STREAM, b"garbage", text("late")))

    await bench.ask()

    assert bench.relayed == list(STREAM)
    assert bench.upstreams.bodies[0].exhausted


async def test_an_end_of_transfer_that_breaks_changes_nothing() -> None:
    bench = pipeline_of(streams(*STREAM, RESET))

    await bench.ask()

    assert bench.record.outcome == "ok"


# Which model answered: row 29 of the failures.


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_of_another_model_is_relayed_and_noted(*, stream: bool) -> None:
    other = {**completion(), "model": "impostor"}
    said = event({"model": "impostor", "choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    bench = pipeline_of(streams(ROLE, said, FINISH, DONE) if stream else says_whole(other))

    await bench.ask(stream=stream)

    assert bench.record.attempts[0].served_model == "impostor"
    assert b'"served_model":"impostor"' in bench.limiter.entries[0]


@pytest.mark.parametrize("model", ["m", None, 7])
async def test_an_answer_of_the_model_that_was_asked_for_is_nothing_to_note(model: object) -> None:
    bench = pipeline_of(says_whole({**completion(), "model": model}))

    await bench.ask(stream=False)

    assert bench.record.attempts[0].served_model == ""
