"""Another model answers where the operator says so: for which reasons, for whom, at what price."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest

from gateway.contract.errors import (
    NoHealthyUpstream,
    ProviderError,
    ProviderFailed,
    ProviderRefused,
    ProviderRejected,
    ProviderTimedOut,
)
from gateway.limits import Amounts, Ask
from gateway.pipeline import ClientHungUp, Request, Whole
from tests.support.pipeline import (
    GOOD_WHOLE,
    UNREACHABLE,
    Bench,
    Gate,
    Says,
    completion,
    pipeline_of,
    refuses,
    says_whole,
    streams,
)

ONCE = {"attempts": 1}
TOO_LONG = says_whole(
    {"error": {"message": "too long", "code": "context_length_exceeded"}}, status=400
)
FILTERED = says_whole({"error": {"message": "no", "code": "content_filter"}}, status=400)


def two_models(first: Says, second: Says, *, on: tuple[str, ...] = ("unavailable",)) -> Bench:
    """`chat` on a; `large` on b may stand in for it."""
    return pipeline_of(
        first,
        second,
        others={"large": {"providers": ["b"], "max_output": 1000}},
        fallback={"to": ["large"], "on": on},
        retries=ONCE,
    )


async def whole(bench: Bench, **fields: Any) -> str:
    answer = await bench.ask(stream=False, **fields)
    assert isinstance(answer, Whole)
    said: str = orjson.loads(answer.content)["choices"][0]["message"]["content"]
    return said


@pytest.mark.parametrize(
    "failure", [UNREACHABLE, refuses(503), refuses(500), refuses(429), refuses(401), refuses(404)]
)
async def test_a_model_that_is_not_available_is_stood_in_for(failure: Says) -> None:
    bench = two_models(failure, GOOD_WHOLE)

    assert await whole(bench) == "Hello"

    assert bench.upstreams.asked == ["a", "b"]
    record = bench.record
    assert (record.model, record.target, record.outcome) == ("large", "b/m", "ok")
    assert [each.target for each in record.attempts] == ["a/m", "b/m"]
    bench.check_nothing_is_left()


async def test_what_is_reserved_is_of_the_model_that_answers() -> None:
    bench = two_models(UNREACHABLE, GOOD_WHOLE)

    await whole(bench)

    [(reserved, used)] = bench.limiter.settled
    assert reserved > 1000
    assert used == 9
    standings = await bench.limiter.standings("acme", tuple(bench.limits()))
    assert {each.limit.amount - each.remaining for each in standings} == {0, 1, 9}


async def test_the_cap_of_the_model_that_answers_is_sent() -> None:
    bench = two_models(UNREACHABLE, GOOD_WHOLE)

    await whole(bench)

    assert orjson.loads(bench.upstreams.requests[-1].content)["max_tokens"] == 1000


@pytest.mark.parametrize(
    ("refusal", "reason"), [(TOO_LONG, "context_length"), (FILTERED, "content_filter")]
)
async def test_a_refusal_is_an_answer_unless_somebody_says_otherwise(
    refusal: Says, reason: str
) -> None:
    final = two_models(refusal, GOOD_WHOLE)
    with pytest.raises(ProviderRejected):
        await whole(final)
    assert final.upstreams.asked == ["a"]

    other = two_models(refusal, GOOD_WHOLE, on=(reason,))
    assert await whole(other) == "Hello"
    assert other.upstreams.asked == ["a", "b"]


async def test_who_stands_in_for_refusals_only_does_not_for_failures() -> None:
    bench = two_models(refuses(503), GOOD_WHOLE, on=("context_length",))

    with pytest.raises(ProviderRefused):
        await whole(bench)

    assert bench.upstreams.asked == ["a"]


async def test_a_plain_refusal_is_nobody_elses_business() -> None:
    bench = two_models(refuses(400), GOOD_WHOLE, on=("unavailable", "context_length"))

    with pytest.raises(ProviderRejected):
        await whole(bench)

    assert bench.upstreams.asked == ["a"]


async def test_a_model_that_the_caller_may_not_use_never_stands_in() -> None:
    bench = two_models(refuses(500), GOOD_WHOLE)
    caller = replace(bench.caller, models=frozenset({"chat"}))

    async with bench.request() as request:
        body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
        with pytest.raises(ProviderFailed):
            await request.answer(caller, body, stream=False)

    assert bench.upstreams.asked == ["a"]
    bench.check_nothing_is_left()


async def test_a_model_without_a_target_that_is_up_is_stood_in_for_before_anything_is_taken() -> (
    None
):
    bench = two_models(GOOD_WHOLE, GOOD_WHOLE)
    bench.health.failed("a/m", ProviderRefused("busy", retry_after=60))

    assert await whole(bench) == "Hello"

    assert bench.upstreams.asked == ["b"]
    assert len(bench.limiter.settled) == 1


async def test_those_who_stand_in_are_asked_in_order_each_with_its_own_first() -> None:
    bench = pipeline_of(
        *[refuses(503)] * 4,
        says_whole(completion("at last")),
        others={
            "b": {"providers": ["b"], "retries": ONCE, "fallback": {"to": ["c", "chat"]}},
            "c": {"providers": ["c"], "retries": ONCE},
            "d": {"providers": ["d"], "retries": ONCE},
            "e": {"providers": ["e"], "retries": ONCE},
        },
        fallback={"to": ["b", "d", "e"]},
        retries=ONCE,
    )

    assert await whole(bench) == "at last"
    assert bench.upstreams.asked == ["a", "b", "c", "d", "e"]
    assert len(bench.limiter.settled) == 1


async def test_no_more_than_five_models_are_tried() -> None:
    names = "bcdefg"
    others: dict[str, dict[str, Any]] = {
        name: {"providers": [name], "retries": ONCE, "fallback": {"to": [after]}}
        for name, after in pairwise(names)
    }
    others["g"] = {"providers": ["g"], "retries": ONCE}
    bench = pipeline_of(*[refuses(503)] * 7, others=others, fallback={"to": ["b"]}, retries=ONCE)

    with pytest.raises((ProviderError, NoHealthyUpstream)):
        await whole(bench)

    assert bench.upstreams.asked == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("tokens", [500, 1100])
async def test_a_limit_without_room_for_the_other_model_leaves_the_failure_and_one_row(
    tokens: int,
) -> None:
    bench = pipeline_of(
        refuses(503),
        GOOD_WHOLE,
        others={"large": {"providers": ["b"], "max_output": 1000}},
        fallback={"to": ["large"]},
        retries=ONCE,
        plan={"tokens": f"{tokens}/minute"},
    )
    before = await bench.limiter.reserve("other", "acme", bench.limits(), Ask(Amounts(100, 0)))

    with pytest.raises(ProviderRefused):
        await whole(bench)

    assert bench.upstreams.asked == ["a"]
    assert len(bench.limiter.entries) == 1
    await bench.limiter.settle(before, Amounts())
    bench.check_nothing_is_left()


@pytest.mark.parametrize("moment", ["cancelling", "reserving"])
async def test_a_hang_up_between_two_models_leaves_one_row_too(moment: str) -> None:
    gate, moved = Gate(), Gate()
    bench = two_models(says_whole({}, status=503, before=(gate,)), GOOD_WHOLE)
    request = bench.request()

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(left(bench, request))
        await gate.reached.wait()
        setattr(bench.limiter, moment, moved)
        gate.open()
        await moved.reached.wait()
        request.interrupt(ClientHungUp())
        bench.limiter.reserving = None
        await asking

    assert bench.upstreams.asked == ["a"]
    assert (bench.record.outcome, bench.record.admitted) == ("hung_up", True)
    assert len(bench.limiter.entries) == 1
    bench.check_nothing_is_left()


async def left(bench: Bench, request: Request) -> None:
    """An exchange whose client does not stay to its end."""
    with pytest.raises(ClientHungUp):
        await bench.ask(request, stream=False)


async def test_nobody_stands_in_when_the_time_of_the_request_is_over() -> None:
    bench = pipeline_of(
        streams(before=(1e6,)),
        GOOD_WHOLE,
        others={"large": {"providers": ["b"]}},
        fallback={"to": ["large"]},
        timeouts={"total": 3.0},
    )

    with pytest.raises(ProviderTimedOut):
        await whole(bench)

    assert bench.upstreams.asked == ["a"]
    bench.check_nothing_is_left()


@pytest.mark.parametrize("failure", [refuses(401), TOO_LONG])
async def test_who_may_try_again_hears_so_whatever_became_of_those_who_stand_in(
    failure: Says,
) -> None:
    bench = two_models(refuses(503, retry_after="7"), failure)

    with pytest.raises(ProviderRefused) as told:
        await whole(bench)

    assert bench.upstreams.asked == ["a", "b"]
    assert told.value.retryable
    assert told.value.retry_after == pytest.approx(7)


async def test_who_could_not_be_served_for_good_is_told_to_try_again_where_that_may_help() -> None:
    bench = two_models(TOO_LONG, refuses(503), on=("context_length",))

    with pytest.raises(ProviderRefused):
        await whole(bench)


async def test_what_one_that_stands_in_may_have_worked_on_is_not_to_be_sent_again() -> None:
    bench = two_models(refuses(503), refuses(500))

    with pytest.raises(ProviderFailed) as told:
        await whole(bench)

    assert not told.value.retryable
