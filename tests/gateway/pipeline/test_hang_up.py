"""However and wherever a request is ended from outside: one record, and everything is back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import Draining, ProviderRefused, ProviderTimedOut
from gateway.health import HealthSettings
from gateway.limits import prompt_tokens
from gateway.pipeline import ClientHungUp, Request, Streamed
from gateway.telemetry.record import Record
from tests.support.pipeline import (
    DONE,
    FINISH,
    GOOD,
    HANGS_UP,
    MESSAGES,
    ROLE,
    STREAM,
    UNREACHABLE,
    Bench,
    Gate,
    Says,
    completion,
    pipeline_of,
    refuses,
    says_whole,
    streams,
    text,
    usage,
)

BODY = {"model": "chat", "messages": MESSAGES}
PROMPT = prompt_tokens("chat", BODY)


@dataclass
class Station:
    """A place where a request waits, and what is then known of it."""

    name: str
    set_up: Callable[[Gate], Bench]
    asked: list[str]
    tokens: int | None
    """What is charged; None where nothing was reserved yet."""
    stream: bool = True
    pieces: int = 0


def reserving(gate: Gate) -> Bench:
    bench = pipeline_of(GOOD)
    bench.limiter.reserving = gate
    return bench


def typed(says: Says) -> Says:
    return replace(says, headers={"content-type": "application/json"})


STATIONS = [
    Station("reserving", reserving, [], None),
    Station("connecting", lambda gate: pipeline_of(streams(before=(gate,))), ["a"], PROMPT),
    Station("before the first byte", lambda gate: pipeline_of(streams(gate)), ["a"], PROMPT),
    Station("before content", lambda gate: pipeline_of(streams(ROLE, gate)), ["a"], PROMPT),
    Station(
        "reading an error",
        lambda gate: pipeline_of(replace(refuses(503), steps=(gate,))),
        ["a"],
        PROMPT,
    ),
    Station(
        "at the second target",
        lambda gate: pipeline_of(HANGS_UP, streams(gate)),
        ["a", "b"],
        PROMPT,
    ),
    Station(
        "after content",
        lambda gate: pipeline_of(streams(ROLE, text("a"), text("b"), gate)),
        ["a"],
        PROMPT + 2,
        pieces=3,
    ),
    Station(
        "after usage",
        lambda gate: pipeline_of(streams(text("a"), usage(70, 20), gate)),
        ["a"],
        90,
        pieces=2,
    ),
    Station(
        "connecting for a whole answer",
        lambda gate: pipeline_of(says_whole(completion(), before=(gate,))),
        ["a"],
        PROMPT,
        stream=False,
    ),
    Station(
        "inside a whole answer",
        lambda gate: pipeline_of(typed(streams(b'{"choices"', gate))),
        ["a"],
        PROMPT,
        stream=False,
    ),
]


@asynccontextmanager
async def stopped_at(
    station: Station,
) -> AsyncIterator[tuple[Bench, Request, "asyncio.Task[object]"]]:
    """A request that waits at the station, in a task of its own."""
    gate = Gate()
    bench = station.set_up(gate)
    request = bench.request()
    async with asyncio.TaskGroup() as group:
        task: asyncio.Task[object] = group.create_task(
            caught(bench.ask(request, stream=station.stream))
        )
        await gate.reached.wait()
        yield bench, request, task


async def caught(exchange: object) -> object:
    """What ended an exchange: its result or its error, a cancellation as well."""
    try:
        return await exchange  # type: ignore[misc]  # any awaitable
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - that is the result
        return error


def check_left(bench: Bench, station: Station) -> Record:
    """What holds of a request whose client left."""
    bench.check_nothing_is_left()
    record = bench.record
    assert (record.outcome, record.status, record.error) == ("hung_up", 499, "client_hung_up")
    assert bench.upstreams.asked == station.asked
    assert len(bench.relayed) == station.pieces
    assert bench.health.is_up("a/m")
    return record


@pytest.mark.parametrize("station", STATIONS, ids=lambda each: each.name)
async def test_a_client_that_hangs_up_is_charged_for_what_it_had_asked_and_got(
    station: Station,
) -> None:
    async with stopped_at(station) as (bench, request, task):
        request.interrupt(ClientHungUp())

    assert isinstance(task.result(), ClientHungUp)
    assert task.cancelling() == 0
    record = check_left(bench, station)
    charged = [tokens for _, tokens in bench.limiter.settled]
    assert charged == ([] if station.tokens is None else [station.tokens])
    assert record.prompt_tokens + record.completion_tokens == (station.tokens or 0)


@pytest.mark.parametrize("station", STATIONS, ids=lambda each: each.name)
async def test_a_second_hang_up_changes_nothing(station: Station) -> None:
    async with stopped_at(station) as (bench, request, task):
        request.interrupt(ClientHungUp())
        request.interrupt(Draining("too late"))

    assert isinstance(task.result(), ClientHungUp)
    check_left(bench, station)


@pytest.mark.parametrize("station", STATIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_request_cancelled_from_outside_ends_cancelled_and_leaves_nothing(
    station: Station, times: int
) -> None:
    async with stopped_at(station) as (bench, _, task):
        for _ in range(times):
            task.cancel()

    assert isinstance(task.result(), asyncio.CancelledError)
    check_left(bench, station)


@pytest.mark.parametrize("station", STATIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("outside_first", [True, False])
async def test_a_cancellation_from_outside_wins_over_a_hang_up_at_the_same_time(
    station: Station, outside_first: bool
) -> None:
    async with stopped_at(station) as (bench, request, task):
        if outside_first:
            task.cancel()
        request.interrupt(ClientHungUp())
        if not outside_first:
            task.cancel()

    assert isinstance(task.result(), asyncio.CancelledError)
    check_left(bench, station)


@pytest.mark.parametrize("station", STATIONS, ids=lambda each: each.name)
async def test_a_shutdown_ends_a_request_with_an_error_that_names_it(station: Station) -> None:
    async with stopped_at(station) as (bench, _, task):
        bench.pipeline.cut(Draining("shutting down"))

    assert isinstance(task.result(), Draining)
    bench.check_nothing_is_left()
    record = bench.record
    assert record.error == "gateway_draining"
    assert (record.outcome, record.status) == (("cut", 200) if station.pieces else ("failed", 503))


@pytest.mark.parametrize("station", STATIONS, ids=lambda each: each.name)
async def test_a_place_that_was_lost_ends_the_request_that_held_it(station: Station) -> None:
    async with stopped_at(station) as (bench, request, _):
        held = list(bench.limiter.held.values())
        for reservation in held:
            reservation.lose()
        if not held:
            request.interrupt(ClientHungUp())

    bench.check_nothing_is_left()
    assert bench.record.error == ("lease_lost" if held else "client_hung_up")


async def test_a_hang_up_before_anyone_was_identified_leaves_a_record() -> None:
    bench = pipeline_of(GOOD)
    request = bench.request()

    async def hang_up_at_once() -> None:
        async with request:
            request.interrupt(ClientHungUp())
            await asyncio.sleep(1)

    with pytest.raises(ClientHungUp):
        await hang_up_at_once()

    assert (bench.record.tenant, bench.record.outcome) == ("", "hung_up")
    bench.check_nothing_is_left()


async def test_a_hang_up_between_two_rounds_is_charged_nothing_for_no_upstream_had_the_prompt() -> (
    None
):
    bench = pipeline_of(UNREACHABLE, retries={"backoff": 5.0})
    request = bench.request()

    with interrupted_after(request, 0.0001), pytest.raises(ClientHungUp):
        await bench.ask(request)

    assert bench.limiter.settled == [(bench.record.reserved_tokens, 0)]
    check_left(bench, Station("", reserving, ["a"], 0))


@contextmanager
def interrupted_after(request: Request, seconds: float) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(seconds, request.interrupt, ClientHungUp())
    try:
        yield
    finally:
        timer.cancel()


@given(after=st.floats(0.0, 12.0), stream=st.booleans(), drains=st.booleans(), slow=st.booleans())
async def test_a_hang_up_at_any_moment_leaves_one_record_and_nothing_else(
    after: float, stream: bool, drains: bool, slow: bool
) -> None:
    steps = [each for piece in STREAM for each in (piece, 1.0)]
    says = streams(*steps, before=(1.0,)) if stream else says_whole(completion(), before=(5.0,))
    provider = {"on_hang_up": "drain" if drains else "abort"}
    bench = pipeline_of(
        replace(refuses(503), before=(2.0,)), says, providers={"a": provider, "b": provider}
    )
    request = bench.request()

    with interrupted_after(request, after):
        try:
            async with request:
                answer = await request.answer(bench.caller, BODY, stream=stream)
                if slow:
                    await asyncio.sleep(3.0)
                await bench.relay(answer)
        except ClientHungUp:
            pass

    bench.check_nothing_is_left()
    assert bench.record.outcome in {"ok", "hung_up"}
    assert bench.upstreams.asked in (["a"], ["a", "b"])
    charged = bench.limiter.settled[0][1]
    was_refused = bench.upstreams.asked == ["a"] and drains  # which is heard after the hang-up too
    assert charged in {9, *range(PROMPT, PROMPT + 4)} or (was_refused and charged == 0)


@given(at=st.integers(1, 8), more=st.integers(0, 3))
async def test_a_deadline_and_a_hang_up_at_one_instant_end_in_one_of_the_two(
    at: int, more: int
) -> None:
    bench = pipeline_of(streams(text("x"), 1e6), timeouts={"stall": float(at)})
    request = bench.request()

    with interrupted_after(request, at), pytest.raises((ClientHungUp, ProviderTimedOut)):
        await bench.ask(request)

    assert bench.record.error in {"client_hung_up", "upstream_stalled"}
    bench.check_nothing_is_left()


async def test_a_probe_whose_client_leaves_makes_room_for_the_next() -> None:
    bench = pipeline_of(
        [refuses(503), streams(before=(1e6,)), GOOD],
        health=HealthSettings(consecutive_failures=1, cool_down=10),
        retries={"attempts": 1},
    )
    with pytest.raises(ProviderRefused):
        await bench.ask()
    await asyncio.sleep(10)
    probe = bench.request()
    with interrupted_after(probe, 1.0), pytest.raises(ClientHungUp):
        await bench.ask(probe)

    await bench.ask()

    assert bench.health.states()["a/m"].state == "up"
    bench.check_nothing_is_left()


# Providers that are read on for, because they bill anyway.


def draining(*steps: bytes | float | Exception | Gate, timeout: float = 30.0) -> Bench:
    return pipeline_of(
        streams(text("Hel"), *steps),
        providers={"a": {"on_hang_up": "drain", "drain_timeout": timeout}},
    )


async def hang_up_after_content(bench: Bench, after: float = 0.5) -> Request:
    request = bench.request()
    with interrupted_after(request, after), pytest.raises(ClientHungUp):
        await bench.ask(request)
    return request


async def test_a_drained_stream_is_charged_by_its_usage() -> None:
    bench = draining(0.5, text("lo"), 100.0, FINISH, usage(70, 20), DONE, timeout=200.0)
    clock = asyncio.get_running_loop().time
    began = clock()

    await hang_up_after_content(bench, after=0.25)

    assert clock() - began == pytest.approx(100.25)  # no deadline of stalls runs any more
    assert bench.limiter.settled[0][1] == 90
    assert bench.record.usage_source == "measured"
    assert bench.relayed == [text("Hel")]
    check_left(bench, Station("", reserving, ["a"], 90, pieces=1))


async def test_a_drain_takes_so_long_at_most_and_charges_what_was_counted() -> None:
    bench = draining(1.0, text("lo"), 1e6)
    clock = asyncio.get_running_loop().time
    began = clock()

    await hang_up_after_content(bench)

    assert clock() - began == pytest.approx(0.5 + 30.0)
    assert bench.limiter.settled[0][1] == PROMPT + 2
    assert bench.record.usage_source == "counted"
    bench.check_nothing_is_left()


async def test_a_drained_stream_that_breaks_charges_what_was_counted() -> None:
    bench = draining(1.0, text("lo"), httpx.ReadError("reset"))

    await hang_up_after_content(bench)

    assert bench.limiter.settled[0][1] == PROMPT + 2
    assert bench.record.error == "client_hung_up"
    bench.check_nothing_is_left()


async def test_a_drain_that_is_cancelled_is_over() -> None:
    gate = Gate()
    bench = draining(1.0, gate)
    request = bench.request()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(caught(bench.ask(request)))
        await asyncio.sleep(0.5)
        request.interrupt(ClientHungUp())
        await gate.reached.wait()
        task.cancel()

    assert isinstance(task.result(), asyncio.CancelledError)
    assert bench.limiter.settled[0][1] == PROMPT + 1
    check_left(bench, Station("", reserving, ["a"], PROMPT + 1, pieces=1))


DRAIN = {"on_hang_up": "drain", "drain_timeout": 10}


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_has_not_begun_is_drained_too_and_charged_by_its_usage(
    *, stream: bool
) -> None:
    says = streams(*STREAM, before=(5.0,)) if stream else says_whole(completion(), before=(5.0,))
    bench = pipeline_of(says, providers={"a": DRAIN})
    request = bench.request()

    with interrupted_after(request, 1.0), pytest.raises(ClientHungUp):
        await bench.ask(request, stream=stream)

    assert bench.record.outcome == "hung_up"
    assert bench.limiter.settled[0][1] == 9
    bench.check_nothing_is_left()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_does_not_come_is_drained_for_so_long_at_most(*, stream: bool) -> None:
    bench = pipeline_of(streams(before=(1e6,)), providers={"a": DRAIN})
    request = bench.request()
    clock = asyncio.get_running_loop().time
    began = clock()

    with interrupted_after(request, 1.0), pytest.raises(ClientHungUp):
        await bench.ask(request, stream=stream)

    assert clock() - began == pytest.approx(11.0)
    assert bench.limiter.settled[0][1] == PROMPT
    bench.check_nothing_is_left()


async def test_nobody_is_asked_after_an_attempt_that_failed_without_the_client() -> None:
    bench = pipeline_of(
        streams(before=(5.0, httpx.ReadError("reset"))), GOOD, providers={"a": DRAIN}
    )
    request = bench.request()

    with interrupted_after(request, 1.0), pytest.raises(ClientHungUp):
        await bench.ask(request)

    assert bench.upstreams.asked == ["a"]
    bench.check_nothing_is_left()


@pytest.mark.parametrize("failure", [refuses(503), refuses(400), HANGS_UP])
async def test_what_is_refused_without_the_client_is_not_charged_and_told_of_its_target(
    failure: Says,
) -> None:
    slow = replace(failure, before=(5.0, *failure.before))
    bench = pipeline_of(slow, providers={"a": DRAIN}, health=HealthSettings())
    request = bench.request()

    with interrupted_after(request, 1.0), pytest.raises(ClientHungUp):
        await bench.ask(request)

    assert bench.limiter.settled[0][1] == 0
    assert (bench.record.outcome, bench.record.error) == ("hung_up", "client_hung_up")
    assert bench.record.attempts[0].error != "client_hung_up"
    failures = bench.health.states()["a/m"].consecutive_failures
    assert failures == (0 if failure.status == 400 else 1)
    bench.check_nothing_is_left()


async def test_a_shutdown_ends_what_is_drained() -> None:
    bench = pipeline_of(streams(before=(1e6,)), providers={"a": DRAIN})
    request = bench.request()
    clock = asyncio.get_running_loop().time
    began = clock()
    asyncio.get_running_loop().call_later(2.0, request.interrupt, Draining("stop"))

    with interrupted_after(request, 1.0), pytest.raises(ClientHungUp):
        await bench.ask(request)

    assert clock() - began == pytest.approx(2.0)
    bench.check_nothing_is_left()


@pytest.mark.parametrize("after", [0.5, 2.0])
async def test_a_shutdown_ends_what_is_drained_after_its_content_too(after: float) -> None:
    bench = draining(*[1e6] * 3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    request = bench.request()

    with interrupted_after(request, 0.5):
        for more in (0, 0, 1):
            loop.call_later(after + more, bench.pipeline.cut, Draining("shutting down"))
        with pytest.raises(ClientHungUp):
            await bench.ask(request)

    assert loop.time() - began == pytest.approx(after)
    assert bench.limiter.settled[0][1] == PROMPT + 1
    assert bench.record.outcome == "hung_up"
    bench.check_nothing_is_left()


# The end: nothing is left to cut short.


async def settling() -> tuple[Bench, Request, Gate]:
    bench = pipeline_of(GOOD)
    bench.limiter.settling = Gate()
    return bench, bench.request(), bench.limiter.settling


@pytest.mark.parametrize("error", [ClientHungUp(), Draining("shutting down")])
async def test_a_request_that_is_being_settled_can_not_be_interrupted(error: Exception) -> None:
    bench, request, gate = await settling()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(caught(bench.ask(request)))
        await gate.reached.wait()
        request.interrupt(error)
        gate.open()

    assert isinstance(task.result(), Streamed)
    assert task.cancelling() == 0
    assert bench.record.outcome == "ok"
    bench.check_nothing_is_left()


async def test_a_request_that_is_cancelled_while_it_is_settled_is_recorded_once() -> None:
    bench, request, gate = await settling()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(caught(bench.ask(request)))
        await gate.reached.wait()
        task.cancel()

    assert isinstance(task.result(), asyncio.CancelledError)
    assert bench.record.outcome == "ok"
    bench.check_nothing_is_left()


async def test_an_interrupt_after_the_end_does_nothing() -> None:
    bench = pipeline_of(GOOD)
    request = bench.request()
    await bench.ask(request)

    request.interrupt(ClientHungUp())
    await asyncio.sleep(0)

    assert bench.record.outcome == "ok"
    assert request.interrupt.error is None


async def test_an_answer_is_whole_before_the_transfer_has_ended() -> None:
    gate = Gate()  # never opened: the upstream does not end its transfer
    bench = pipeline_of(streams(*STREAM, gate))

    await bench.ask()

    assert (bench.record.outcome, bench.record.status, bench.record.error) == ("ok", 200, None)
    bench.check_nothing_is_left()
