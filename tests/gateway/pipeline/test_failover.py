"""The attempts of one request: turns before a busy provider, budgets of retries, patience."""

import asyncio

import httpx
import pytest

from gateway.contract.errors import (
    NoHealthyUpstream,
    ProviderBusy,
    ProviderDisconnected,
    ProviderError,
    ProviderRefused,
    ProviderTimedOut,
    RequestQuarantined,
)
from gateway.health import HealthSettings
from gateway.pipeline import Hints, Request, Streamed
from tests.support.pipeline import (
    GOOD,
    GOOD_WHOLE,
    HANGS_UP,
    HEADERS,
    MESSAGES,
    NEVER_OPEN,
    ROLE,
    Bench,
    Gate,
    Says,
    breaks,
    pipeline_of,
    refuses,
    streams,
    text,
)

ONE_SLOT = {"max_concurrency": 1}
ONE_IN_LINE = {**ONE_SLOT, "queue": {"size": 1, "wait": 5}}
REFUSED = breaks(httpx.ConnectError("refused"))


async def hinted(bench: Bench, hints: Hints, *, stream: bool = False) -> None:
    """One exchange of a client that says this of itself."""
    body = {"model": "chat", "messages": MESSAGES, "stream": stream}
    async with bench.request() as request:
        caller = await request.identify(HEADERS)
        await bench.relay(await request.answer(caller, body, stream=stream, hints=hints))


# Turns


async def test_a_busy_provider_is_passed_over_and_costs_no_attempt() -> None:
    gate = Gate()
    bench = pipeline_of([streams(*GOOD.steps, gate), GOOD], GOOD, providers={"a": ONE_IN_LINE})

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        await bench.ask()
        gate.open()

    assert bench.upstreams.asked == ["a", "b"]
    assert [len(each.attempts) for each in bench.heard.records] == [1, 1]
    bench.check_nothing_is_left()


async def test_with_every_provider_busy_a_request_waits_for_its_turn() -> None:
    gate = Gate()
    bench = pipeline_of([streams(*GOOD.steps, gate), GOOD], providers={"a": ONE_IN_LINE})

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        waits = group.create_task(bench.ask())
        await asyncio.sleep(0.01)
        assert bench.pipeline.queues.waiting() == 1
        assert bench.upstreams.asked == ["a"]
        gate.open()
        await waits

    assert bench.upstreams.asked == ["a", "a"]
    bench.check_nothing_is_left()


async def test_a_turn_is_waited_for_whatever_became_of_the_other_targets() -> None:
    gate = Gate()
    bench = pipeline_of(
        [streams(*GOOD.steps, gate), GOOD], refuses(503), GOOD, providers={"a": ONE_IN_LINE}
    )
    bench.health.failed("c/m", ProviderRefused("down", retry_after=60))

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        waits = group.create_task(bench.ask())
        await asyncio.sleep(0.01)
        assert bench.pipeline.queues.waiting() == 1
        gate.open()
        await waits

    assert bench.upstreams.asked == ["a", "b", "a"]
    bench.check_nothing_is_left()


async def test_who_has_just_refused_is_not_asked_again_in_place_of_one_that_is_busy() -> None:
    gate = Gate()
    bench = pipeline_of(
        [refuses(503), refuses(503), GOOD],
        [streams(*GOOD.steps, gate), GOOD],
        providers={"a": {**ONE_IN_LINE, "max_concurrency": 9}, "b": ONE_IN_LINE},
    )

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        waits = group.create_task(bench.ask())
        await asyncio.sleep(0.01)
        assert bench.pipeline.queues.waiting() == 1
        gate.open()
        await waits

    assert bench.upstreams.asked == ["a", "b", "a", "b"]
    bench.check_nothing_is_left()


async def test_a_line_that_is_full_refuses_and_says_when_to_come_back() -> None:
    gate = Gate()
    bench = pipeline_of([streams(*GOOD.steps, gate), GOOD], providers={"a": ONE_IN_LINE})

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        group.create_task(bench.ask())
        await asyncio.sleep(0.01)
        with pytest.raises(ProviderBusy) as refused:
            await bench.ask()
        gate.open()

    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= 60
    bench.check_nothing_is_left()


async def test_nobody_stands_in_line_for_longer_than_one_may() -> None:
    gate = Gate()
    quick = [streams(0.1, *GOOD.steps)] * 50
    bench = pipeline_of(
        [*quick, streams(text("x"), gate, *GOOD.steps), GOOD],
        providers={"a": {**ONE_SLOT, "queue": {"size": 10, "wait": 5}}},
    )
    clock = asyncio.get_running_loop().time
    for _ in quick:  # so that the line looks short
        await bench.ask()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        began = clock()
        with pytest.raises(ProviderBusy) as refused:
            await bench.ask()
        gate.open()

    assert clock() - began == pytest.approx(5.0, abs=0.2)
    assert refused.value.retry_after is not None
    bench.check_nothing_is_left()


async def test_who_leaves_the_line_makes_room() -> None:
    gate = Gate()
    bench = pipeline_of([streams(*GOOD.steps, gate), GOOD], providers={"a": ONE_IN_LINE})

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        leaves = group.create_task(bench.ask())
        await asyncio.sleep(0.01)
        leaves.cancel()
        await asyncio.sleep(0.01)
        stays = group.create_task(bench.ask())
        await asyncio.sleep(0.01)
        gate.open()
        await stays

    assert bench.upstreams.asked == ["a", "a"]
    bench.check_nothing_is_left()


# Budgets of retries


async def test_retries_of_many_requests_are_a_share_of_them() -> None:
    bench = pipeline_of(
        refuses(503),
        refuses(503),
        health=NEVER_OPEN.model_copy(update={"retries_per_second": 0.0, "retry_share": 0.1}),
        retries={"attempts": 2},
    )

    for _ in range(200):
        with pytest.raises(ProviderError):
            await bench.ask()

    assert bench.upstreams.asked.count("a") >= 200
    assert len(bench.upstreams.asked) <= 1.1 * 200 + 1
    bench.check_nothing_is_left()


async def test_a_retry_goes_to_a_target_whose_budget_allows_it() -> None:
    bench = pipeline_of(refuses(503), GOOD, GOOD, health=HealthSettings(retry_share=0.1))
    while bench.health.may_retry("b/m"):
        pass

    await bench.ask()

    assert bench.upstreams.asked == ["a", "c"]


async def test_a_first_attempt_needs_no_budget() -> None:
    bench = pipeline_of(GOOD)
    while bench.health.may_retry("a/m"):
        pass

    await bench.ask()

    assert bench.record.outcome == "ok"


# What a client says of itself


async def test_a_clients_own_retries_count_as_attempts() -> None:
    bench = pipeline_of(REFUSED, REFUSED, GOOD_WHOLE, retries={"attempts": 3})
    await hinted(bench, Hints())
    assert bench.upstreams.asked == ["a", "b", "c"]

    bench = pipeline_of(REFUSED, REFUSED, GOOD_WHOLE, retries={"attempts": 3})
    with pytest.raises(ProviderError):
        await hinted(bench, Hints(repeats=1))
    assert bench.upstreams.asked == ["a", "b"]

    bench = pipeline_of(REFUSED, GOOD_WHOLE, retries={"attempts": 3})
    with pytest.raises(ProviderError):
        await hinted(bench, Hints(repeats=7))
    assert bench.upstreams.asked == ["a"]


@pytest.mark.parametrize("stream", [True, False])
async def test_nobody_works_on_for_a_client_that_has_given_up(*, stream: bool) -> None:
    clock = asyncio.get_running_loop().time
    never = streams(before=(1e6,))
    bench = pipeline_of(never, never, timeouts={"first_content": 3.0})
    began = clock()

    with pytest.raises(ProviderTimedOut) as raised:
        await hinted(bench, Hints(patience=4.0), stream=stream)

    assert raised.value.code == "upstream_timeout"
    assert clock() - began == pytest.approx(4.0)
    bench.check_nothing_is_left()


async def test_a_stream_that_is_silent_for_longer_than_the_client_waits_is_stalled() -> None:
    clock = asyncio.get_running_loop().time
    bench = pipeline_of(streams(text("x"), 1e6), timeouts={"stall": 30.0})
    began = clock()

    with pytest.raises(ProviderTimedOut) as raised:
        await hinted(bench, Hints(patience=4.0), stream=True)

    assert raised.value.code == "upstream_stalled"
    assert clock() - began == pytest.approx(4.0)


@pytest.mark.parametrize("says", [streams(before=(1e6,)), streams(text("x"), 1e6)])
async def test_an_impatient_client_does_nobody_elses_target_any_harm(says: Says) -> None:
    bench = pipeline_of(
        says,
        health=HealthSettings(),
        providers={"a": {"adaptive": {"min": 1, "start": 16}}},
        timeouts={"first_content": 3.0, "stall": 3.0},
    )
    for _ in range(50):
        with pytest.raises(ProviderTimedOut):
            await hinted(bench, Hints(patience=0.1), stream=True)
    assert bench.health.states()["a/m"].state == "up"
    assert bench.health.states()["a/m"].consecutive_failures == 0
    assert bench.pipeline.queues.states()["a"].limit == 16

    for _ in range(5):
        with pytest.raises(ProviderTimedOut):
            await hinted(bench, Hints(patience=3.5), stream=True)
    assert bench.health.states()["a/m"].state == "open"


@pytest.mark.parametrize("total", [600.0, 900.0])
async def test_a_target_that_was_given_its_time_is_not_excused_by_a_client_that_gives_as_much(
    total: float,
) -> None:
    slow = Says(before=(0.5, httpx.ConnectError("refused")))
    bench = pipeline_of(slow, streams(before=(1e6,)), timeouts={"total": total})

    with pytest.raises(ProviderTimedOut):
        await hinted(bench, Hints(patience=600.0))

    assert bench.health.states()["b/m"].consecutive_failures == 1


async def test_a_probe_that_the_client_did_not_wait_for_makes_room_for_the_next() -> None:
    bench = pipeline_of(
        [refuses(503), streams(before=(1e6,)), GOOD],
        health=HealthSettings(consecutive_failures=1, cool_down=10),
        retries={"attempts": 1},
    )
    with pytest.raises(ProviderError):
        await bench.ask()
    await asyncio.sleep(10)
    with pytest.raises(ProviderTimedOut):
        await hinted(bench, Hints(patience=1.0), stream=True)

    await bench.ask()

    assert bench.health.states()["a/m"].state == "up"


async def test_a_client_that_takes_its_time_does_nobody_elses_target_any_harm() -> None:
    bench = pipeline_of(
        streams(text("x"), 2.0, text("y")), health=HealthSettings(), timeouts={"total": 5.0}
    )
    for _ in range(10):
        request = bench.request()
        with pytest.raises(ProviderTimedOut):
            await slowly(bench, request)

    assert bench.health.states()["a/m"].consecutive_failures == 0
    bench.check_nothing_is_left()


async def slowly(bench: Bench, request: Request) -> None:
    """An exchange whose client reads an event in four seconds."""
    async with request:
        caller = await request.identify(HEADERS)
        body = {"model": "chat", "messages": MESSAGES, "stream": True}
        answer = await request.answer(caller, body, stream=True)
        assert isinstance(answer, Streamed)
        while not answer.rest.done:
            await asyncio.sleep(4.0)
            await answer.rest.next()


async def test_a_patient_client_changes_nothing() -> None:
    clock = asyncio.get_running_loop().time
    bench = pipeline_of(streams(1e6), timeouts={"first_content": 3.0})
    began = clock()

    with pytest.raises(ProviderTimedOut):
        await hinted(bench, Hints(patience=600.0), stream=True)

    assert clock() - began == pytest.approx(3.0)


# Deadlines of providers


async def test_a_provider_has_time_outs_of_its_own() -> None:
    clock = asyncio.get_running_loop().time
    bench = pipeline_of(streams(1e6), GOOD, providers={"a": {"timeouts": {"first_content": 2.0}}})
    began = clock()

    await bench.ask()

    assert bench.upstreams.asked == ["a", "b"]
    assert clock() - began == pytest.approx(2.0)


async def test_a_providers_total_ends_an_attempt_and_not_the_request() -> None:
    clock = asyncio.get_running_loop().time
    slow = streams(*[text("x"), 1.0] * 100)
    bench = pipeline_of(slow, providers={"a": {"timeouts": {"total": 5.5}}})
    began = clock()

    with pytest.raises(ProviderTimedOut):
        await bench.ask()

    assert clock() - began == pytest.approx(5.5)


async def test_no_target_at_all_is_told_as_such() -> None:
    bench = pipeline_of(GOOD, health=HealthSettings(consecutive_failures=1))
    for _ in range(20):
        bench.health.failed("a/m", ProviderTimedOut("slow"))

    with pytest.raises(NoHealthyUpstream):
        await bench.ask()


# Requests over which upstreams break down: row 33 of the failures.


async def test_a_request_that_breaks_two_upstreams_down_meets_no_third() -> None:
    bench = pipeline_of([HANGS_UP, GOOD], [HANGS_UP, GOOD], GOOD, retries={"attempts": 3})

    with pytest.raises(RequestQuarantined):
        await bench.ask()
    for _ in range(5):
        with pytest.raises(RequestQuarantined):
            await bench.ask()
    await bench.ask(user="somebody else's")

    assert bench.upstreams.asked == ["a", "b", "a"]
    assert all(len(each.attempts) == 0 for each in bench.heard.records[1:6])
    bench.check_nothing_is_left()


async def test_what_one_upstream_broke_down_over_and_another_answers_is_asked_again() -> None:
    bench = pipeline_of(HANGS_UP, GOOD)

    for _ in range(5):
        await bench.ask()

    assert all(each.outcome == "ok" for each in bench.heard.records)


@pytest.mark.parametrize("failure", [REFUSED, refuses(500), streams(text("x")), streams(1e6)])
async def test_no_other_failure_counts_as_a_breakdown(failure: Says) -> None:
    bench = pipeline_of(failure, failure, timeouts={"first_content": 1.0}, retries={"attempts": 2})

    for _ in range(5):
        with pytest.raises(ProviderError):
            await bench.ask()


async def test_another_model_is_no_way_around_the_quarantine() -> None:
    bench = pipeline_of(
        HANGS_UP,
        HANGS_UP,
        GOOD,
        others={"spare": {"providers": ["c"]}},
        fallback={"to": ["spare"]},
    )

    with pytest.raises(RequestQuarantined):
        await bench.ask()

    assert bench.upstreams.asked == ["a", "b"]


async def test_an_upstream_that_dies_after_its_head_has_broken_down_too() -> None:
    dies = streams(ROLE, httpx.ReadError("reset"))
    bench = pipeline_of(dies, dies, GOOD, retries={"attempts": 3})

    with pytest.raises(RequestQuarantined):
        await bench.ask()

    assert bench.upstreams.asked == ["a", "b"]


async def test_nothing_is_blamed_for_an_upstream_that_has_been_failing_for_a_while() -> None:
    bench = pipeline_of(HANGS_UP, HANGS_UP, retries={"attempts": 2})
    with pytest.raises(RequestQuarantined):
        await bench.ask(user="the one that broke them")
    await asyncio.sleep(3.0)

    for _ in range(5):
        with pytest.raises(ProviderDisconnected):
            await bench.ask(user="another")

    bench.check_nothing_is_left()
