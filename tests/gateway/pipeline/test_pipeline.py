"""What outlives a request: those on their way, the ids they are found by."""

import asyncio
import re

import pytest

from gateway.contract.errors import Draining
from gateway.telemetry.context import PassedOn
from tests.support.pipeline import GOOD, HEADERS, Gate, pipeline_of, refuses, streams, text

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_requests_on_their_way_are_counted_and_can_all_be_ended() -> None:
    gates = [Gate() for _ in range(3)]
    bench = pipeline_of([streams(text("x"), gate) for gate in gates])

    async def ask() -> None:
        with pytest.raises(Draining):
            await bench.ask()

    async with asyncio.TaskGroup() as group:
        for gate in gates:
            group.create_task(ask())
            await gate.reached.wait()
        assert bench.pipeline.live == 3
        bench.pipeline.cut(Draining("shutting down"))

    assert [each.outcome for each in bench.heard.records] == ["cut"] * 3
    bench.check_nothing_is_left()


async def test_every_observer_hears_of_a_request_once_at_each_end() -> None:
    bench = pipeline_of(GOOD)

    await bench.ask()
    await bench.ask()

    assert bench.heard.began_ == ["chat", "chat"]
    assert len({each.request_id for each in bench.heard.records}) == 2


async def test_an_id_is_the_gateways_own_whatever_the_client_calls_its_request() -> None:
    bench = pipeline_of(GOOD)

    record = bench.pipeline.record("chat", {b"x-request-id": [b"theirs"]}, "theirs")

    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", record.request_id)
    assert record.client_request_id == "theirs"
    assert record.trace is None


async def test_a_callers_trace_goes_on_with_every_attempt() -> None:
    bench = pipeline_of(refuses(503), GOOD)
    request = bench.request()
    request.record.trace = PassedOn().trace_of({**HEADERS, b"traceparent": [TRACEPARENT]})

    await bench.ask(request)

    sent = [each.headers.get("traceparent") for each in bench.upstreams.requests]
    assert sent == [TRACEPARENT.decode()] * 2


async def test_a_clients_own_headers_go_no_further() -> None:
    bench = pipeline_of(GOOD)

    await bench.ask()

    (sent,) = bench.upstreams.requests
    own = {"x-lockgate-hop", "x-request-id"}
    assert set(sent.headers) == {"accept-encoding", "content-type"} | own
