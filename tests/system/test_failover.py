"""Two replicas, one of which fails in every way that one can: who notices, and who does not."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.faulty import refusing_port
from tests.system.world import (
    FORGIVING,
    Gateway,
    Json,
    Simulator,
    bearer,
    chat,
    data,
    gateway,
    post,
    settings,
    simulator,
    until,
)

REQUESTS = 200
AT_ONCE = 20
ONE_EACH = {"strategy": "weighted"}
FAST = {"first_content": "300ms", "stall": "300ms"}


@dataclass
class Replicas:
    """Two upstreams and the gateway before them; `first` is asked first."""

    first: Simulator
    second: Simulator
    gateway: Gateway

    def asked(self) -> tuple[int, int]:
        """Requests that either has got."""
        return len(self.first.requests()), len(self.second.requests())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("world")
    with simulator(folder) as first, simulator(folder) as second:
        urls = {"a": first.url, "b": second.url, "gone": f"http://127.0.0.1:{refusing_port()}"}
        config = settings(urls, model={"timeouts": FAST})
        both = [{"provider": name, "model": "demo-model"} for name in ("a", "b")]
        gone = [{"provider": "gone", "model": "demo-model"}]
        config["models"]["chat"]["targets"] = both
        config["models"] |= {
            "gone-first": {"targets": gone + both, "max_output": 64, "expose_target": True},
            "gone": {"targets": gone, "max_output": 64},
            "shared": {
                "strategy": "weighted",
                "targets": [{**both[0], "weight": 1}, {**both[1], "weight": 3}],
                "max_output": 64,
                "expose_target": True,
            },
        }
        with gateway(folder, config) as process:
            yield Replicas(first, second, process)


@pytest.fixture(autouse=True)
def _sane(request: pytest.FixtureRequest) -> None:
    if "world" in request.fixturenames:
        world: Replicas = request.getfixturevalue("world")
        world.first.fresh()
        world.second.fresh()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "refuse"}, "upstream_disconnected"),
        ({"kind": "status", "status": 500}, "upstream_error"),
        ({"kind": "status", "status": 503}, "upstream_error"),
        ({"kind": "status", "status": 529}, "upstream_error"),
        ({"kind": "status", "status": 429}, "rate_limit_exceeded"),
        ({"kind": "status", "status": 401}, "upstream_auth_error"),
        ({"kind": "status", "status": 402}, "upstream_quota_exhausted"),
        ({"kind": "status", "status": 404}, "upstream_model_missing"),
        ({"kind": "html"}, "upstream_unexpected_content_type"),
        ({"kind": "redirect"}, "upstream_redirect"),
        ({"kind": "cut", "silent": True}, "upstream_disconnected"),
        ({"kind": "reset", "silent": True}, "upstream_disconnected"),
        ({"kind": "stall", "silent": True}, "upstream_timeout"),
        ({"kind": "stall"}, "upstream_timeout"),
        ({"kind": "delay", "seconds": 1}, "upstream_timeout"),
        ({"kind": "cut", "mid_event": True}, None),
        ({"kind": "garbage"}, "upstream_invalid_event"),
        ({"kind": "error_event"}, "upstream_error"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_start_that_fails_is_somebody_elses_answer(
    world: Replicas, fault: Json, error: str | None, *, stream: bool
) -> None:
    world.first.faults(fault)

    answer = post(world.gateway, chat(stream=stream))

    assert answer.status_code == 200
    assert answer.headers["x-lockgate-attempts"] == "2"
    # A connection that had been used before and ends without a byte is replaced once, unseen.
    assert world.asked() in ((1, 1), (2, 1))
    record = world.gateway.record(answer.headers["x-request-id"])
    assert [each["target"] for each in record["attempts"]] == ["a/demo-model", "b/demo-model"]
    assert record["attempts"][1]["error"] is None
    if error is not None:
        assert record["attempts"][0]["error"] == error
    if stream:
        assert data(answer.text)[-1] == "[DONE]"
        assert answer.text.count('"role"') == 1
        assert "error" not in answer.text


@pytest.mark.parametrize("kind", ["cut", "reset", "stall", "no_done", "garbage", "error_event"])
def test_a_stream_that_said_no_more_than_its_role_is_somebody_elses_answer(
    world: Replicas, kind: str
) -> None:
    world.first.faults({"kind": kind, "after": 1})

    answer = post(world.gateway, chat(stream=True))

    assert answer.headers["x-lockgate-attempts"] == "2"
    assert answer.text.count('"role"') == 1
    assert data(answer.text)[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("cut", "upstream_disconnected"),
        ("reset", "upstream_disconnected"),
        ("stall", "upstream_stalled"),
        ("no_done", "upstream_disconnected"),
        ("garbage", "upstream_invalid_event"),
        ("error_event", "upstream_error"),
        ("abort", None),
    ],
)
def test_a_stream_that_breaks_after_content_ends_in_one_error_event(
    world: Replicas, kind: str, code: str | None
) -> None:
    world.first.faults({"kind": kind, "after": 5})

    answer = post(world.gateway, chat(stream=True))

    events = [json.loads(each) for each in data(answer.text)]
    assert [bool(event.get("error")) for event in events] == [False] * (len(events) - 1) + [True]
    assert len(events) >= 5
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"}
    assert code in (None, events[-1]["error"]["code"])
    assert world.asked() == (1, 0)
    record = world.gateway.record(answer.headers["x-request-id"])
    assert (record["outcome"], record["status"]) == ("cut", 200)


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_the_requests_own_fault_is_nobody_elses_business(world: Replicas, status: int) -> None:
    world.first.faults({"kind": "status", "status": status})

    answer = post(world.gateway)

    assert answer.status_code == status
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-lockgate-attempts"] == "1"
    assert world.asked() == (1, 0)


def test_what_may_have_been_worked_on_is_tried_once_more_and_no_oftener(world: Replicas) -> None:
    world.first.faults({"kind": "status", "status": 500})
    world.second.faults({"kind": "status", "status": 500})

    answer = post(world.gateway)

    assert answer.status_code == 502
    assert answer.headers["x-lockgate-attempts"] == "2"
    assert world.asked() == (1, 1)


def test_what_was_refused_is_tried_as_often_as_allowed(world: Replicas) -> None:
    world.first.faults({"kind": "status", "status": 503})
    world.second.faults({"kind": "status", "status": 503})

    answer = post(world.gateway)

    assert answer.status_code == 502
    assert answer.headers["x-lockgate-attempts"] == "3"
    assert sum(world.asked()) == 3


def test_a_target_that_is_gone_costs_one_attempt_and_the_server_is_named_if_wanted(
    world: Replicas,
) -> None:
    answer = post(world.gateway, chat(model="gone-first"))

    assert answer.headers["x-lockgate-attempts"] == "2"
    assert answer.headers["x-lockgate-target"] == "a/demo-model"
    assert "x-lockgate-target" not in post(world.gateway).headers


def test_with_every_target_gone_the_answer_says_when_to_come_back(world: Replicas) -> None:
    answer = post(world.gateway, chat(model="gone"))

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_healthy_upstream"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-should-retry"] == "true"


def test_weights_are_shares(world: Replicas) -> None:
    with httpx.Client(headers=bearer(), verify=False) as client:
        url = f"{world.gateway.url}/v1/chat/completions"
        body = chat(model="shared", max_tokens=1)
        served = Counter(
            client.post(url, json=body).headers["x-lockgate-target"] for _ in range(200)
        )

    # 150 expected; a fair run is outside these bounds less than once in 10^6.
    assert 118 <= served["b/demo-model"] <= 180
    assert sum(served.values()) == 200


def test_a_target_that_says_when_to_come_back_is_left_alone_until_then(
    world: Replicas, tmp_path: Path
) -> None:
    config = settings({"a": world.first.url, "b": world.second.url})
    config["health"] = FORGIVING | {"max_retry_after": "1s"}
    world.first.faults({"kind": "status", "status": 429, "retry_after": 30, "times": 1})
    with gateway(tmp_path, config) as process:
        attempts = [post(process).headers["x-lockgate-attempts"] for _ in range(5)]
        assert attempts == ["2", "1", "1", "1", "1"]
        assert world.asked() == (1, 5)
        told = process.metrics()
        assert told['lockgate_upstream_up{target="a/demo-model"}'] == 0

        until(lambda: post(process).status_code == 200 and len(world.first.requests()) > 1)


async def test_a_replica_that_dies_under_load_costs_nobody_an_answer_that_had_not_begun(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("load")
    slowly = ("--tokens-per-second", "200", "--answer-tokens", "40")
    with simulator(folder, *slowly) as first, simulator(folder, *slowly) as second:
        config = settings({"a": first.url, "b": second.url}, model=ONE_EACH)
        config["health"] = {}  # as users have it
        with gateway(folder, config) as process:
            ends = await _under_load(process, first)
            told = process.metrics()

    assert Counter(end for end, _ in ends)["failed"] == 0
    cut = [streamed for end, streamed in ends if end == "cut"]
    assert all(cut)
    assert 0 < len(cut) <= AT_ONCE
    assert len(ends) == REQUESTS
    assert sum(v for name, v in told.items() if name.startswith("lockgate_requests_total")) == 200


async def _under_load(process: Gateway, victim: Simulator) -> list[tuple[str, bool]]:
    """How each request ended, and whether it was a stream. The victim dies in their midst."""
    ends: list[tuple[str, bool]] = []
    numbers = iter(range(REQUESTS))
    async with httpx.AsyncClient(base_url=process.url, headers=bearer(), timeout=30) as client:

        async def caller() -> None:
            for number in numbers:
                if number == REQUESTS // 2:
                    victim.kill()
                streamed = number % 2 == 0
                ends.append((await _end(client, streamed=streamed), streamed))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(caller())
    return ends


async def _end(client: httpx.AsyncClient, *, streamed: bool) -> str:
    answer = await client.post("/v1/chat/completions", json=chat(stream=streamed))
    if answer.status_code != 200:
        return "failed"
    if not streamed:
        return "whole" if answer.json()["choices"][0]["finish_reason"] == "stop" else "failed"
    events = data(answer.text)
    errors = [event for event in events if "error" in json.loads(_json(event))]
    if events[-1] == "[DONE]" and not errors:
        return "whole"
    has_content = any('"content":"' in event for event in events[1:])
    return "cut" if len(errors) == 1 and events[-1] == errors[0] and has_content else "failed"


def _json(event: str) -> str:
    return "{}" if event == "[DONE]" else event
