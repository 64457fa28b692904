import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.support.simulator import RunningSimulator, events, eventually, running_simulator, said

CHAT = "/v1/chat/completions"


def ask(*, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}], "stream": stream, **fields}


async def post(sim: RunningSimulator, body: dict[str, Any], path: str = CHAT) -> httpx.Response:
    async with httpx.AsyncClient(base_url=sim.url, timeout=10) as client:
        return await client.post(path, json=body)


async def leave(sim: RunningSimulator, body: dict[str, Any], *, after: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await post(sim, body)


async def collect(client: httpx.AsyncClient, received: list[bytes]) -> None:
    async with client.stream("POST", CHAT, json=ask(stream=True)) as answer:
        async for part in answer.aiter_raw():
            received.append(part)  # noqa: PERF401 - what came before the break must stay


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_takes_the_time_that_its_speed_gives(stream: bool) -> None:
    async with running_simulator(tokens_per_second=200, time_to_first_token=0.1) as sim:
        began = time.monotonic()
        await post(sim, ask(stream=stream, max_tokens=20))

        assert 0.19 <= time.monotonic() - began < 1
        assert sim.state()["completion_tokens"] == 20


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_generation_and_its_tokens_stay_counted(
    stream: bool,
) -> None:
    async with running_simulator(tokens_per_second=100) as sim:
        await leave(sim, ask(stream=stream, max_tokens=500, ignore_eos=True), after=0.2)
        await eventually(lambda: sim.state()["running"] == 0)

        state = sim.state()
        assert state["aborted"] == 1
        assert state["by_finish"] == {"abort": 1}
        assert 0 < state["completion_tokens"] < 60


async def test_who_comes_when_every_place_is_taken_waits() -> None:
    async with running_simulator(tokens_per_second=100, max_running=1) as sim:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(post(sim, ask(max_tokens=5)))
            await eventually(lambda: sim.state()["waiting"] == 2)
            assert sim.state()["running"] == 1

        assert (sim.state()["waiting"], sim.state()["by_finish"]) == (0, {"length": 3})


async def test_who_leaves_the_queue_was_never_run() -> None:
    async with running_simulator(tokens_per_second=50, max_running=1) as sim:
        async with asyncio.TaskGroup() as group:
            group.create_task(post(sim, ask(max_tokens=30)))
            await eventually(lambda: sim.state()["running"] == 1)
            await leave(sim, ask(), after=0.05)
            await eventually(lambda: sim.state()["waiting"] == 0)

        assert sim.state()["aborted"] == 1
        assert sim.state()["completion_tokens"] == 30


@pytest.mark.parametrize("burst", [1, 7, 1000])
async def test_bursts_change_how_events_are_written_and_not_what_they_say(burst: int) -> None:
    async with running_simulator(burst=burst) as sim:
        whole = (await post(sim, ask())).json()["choices"][0]["message"]["content"]

        assert said((await post(sim, ask(stream=True))).text) == whole


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("after", [0, 1, 17])
async def test_a_stream_is_broken_off_after_its_events(kind: str, after: int) -> None:
    async with running_simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
        sim.faults({"kind": kind, "after": after})
        received: list[bytes] = []
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await collect(client, received)

        assert b"".join(received).count(b"\n\n") == after
        state = sim.state()
        assert (state["running"], state["aborted"], state["faults"]) == (0, 0, {kind: 1})
        assert state["completion_tokens"] == max(0, after - 1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_silent_fault_sends_no_byte(kind: str, stream: bool) -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": kind, "silent": True})

        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await post(sim, ask(stream=stream))
        assert sim.state()["by_status"] == {}


async def test_half_a_body_is_shorter_than_its_length_says() -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": "cut", "mid_event": True})

        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            await post(sim, ask())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stall_lasts_until_the_client_leaves(stream: bool) -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": "stall", "after": 3 if stream else 0, "times": 1})
        await leave(sim, ask(stream=stream), after=0.1)
        await eventually(lambda: sim.state()["running"] == 0)

        assert sim.state()["aborted"] == 1
        assert (await post(sim, ask())).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_delay_only_takes_time(stream: bool) -> None:
    async with running_simulator() as sim:
        usual = (await post(sim, ask(stream=stream))).text
        sim.faults({"kind": "delay", "seconds": 0.1})
        began = time.monotonic()
        late = (await post(sim, ask(stream=stream))).text

        assert time.monotonic() - began >= 0.1
        assert len(late) == len(usual)


async def test_garbage_stands_between_events_or_in_place_of_a_body() -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": "garbage", "after": 2})
        told = events((await post(sim, ask(stream=True))).text)

        assert isinstance(told[2], str)
        assert told[-1] == "[DONE]"
        with pytest.raises(json.JSONDecodeError):
            (await post(sim, ask())).json()


async def test_an_error_event_ends_a_stream_as_vllm_ends_it() -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": "error_event", "after": 2})
        told = events((await post(sim, ask(stream=True))).text)

        assert told[2]["error"]["code"] == 500
        assert told[3:] == ["[DONE]"]
        assert "error" in (await post(sim, ask())).json()


@pytest.mark.parametrize(("after", "number"), [(0, 34), (5, 5)])
async def test_no_done_is_a_clean_end_without_one(after: int, number: int) -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": "no_done", "after": after})
        told = events((await post(sim, ask(stream=True))).text)

        assert len(told) == number
        assert "[DONE]" not in told


async def test_an_abort_is_a_finish_reason() -> None:
    async with running_simulator() as sim:
        sim.faults({"kind": "abort", "after": 2})
        told = events((await post(sim, ask(stream=True))).text)
        whole = (await post(sim, ask())).json()

        assert told[-2]["choices"][0]["finish_reason"] == "abort"
        assert told[-1] == "[DONE]"
        assert whole["choices"][0]["finish_reason"] == "abort"
        assert whole["usage"]["completion_tokens"] == 2
        assert sim.state()["by_finish"] == {"abort": 2}


async def test_a_hundred_clients_that_leave_at_any_moment_leave_nothing_behind() -> None:
    async with running_simulator(tokens_per_second=200, max_running=20) as sim:
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                stream = number % 2 == 0
                body = ask(stream=stream, max_tokens=200, ignore_eos=True)
                group.create_task(leave(sim, body, after=0.001 * number + 0.01))
        await eventually(lambda: not sim.state()["running"] and not sim.state()["waiting"])

        assert (await post(sim, ask(max_tokens=1))).status_code == 200
