"""Signals: how a gateway stops, and what becomes of the requests that are on their way."""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.redis_server import RedisServer
from tests.system.world import (
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    chat,
    data,
    gateway,
    post,
    settings,
    simulator,
    until,
)

LIMIT = 100_000
RESERVED = 512 + 64
"""Tokens that a request takes at first, its prompt aside: its cap, and the margin on it."""

STOP = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A second for an answer."""
    options = ("--tokens-per-second", "45", "--answer-tokens", "45")
    with simulator(tmp_path_factory.mktemp("slow"), *options) as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@contextmanager
def streaming(process: Gateway) -> Iterator[Iterator[str]]:
    """A stream whose first content has come; the text of what follows."""
    with httpx.Client(headers=bearer(), verify=False, timeout=30) as client:
        url = f"{process.url}/v1/chat/completions"
        with client.stream("POST", url, json=chat(stream=True)) as answer:
            pieces = answer.iter_text()
            assert '"content"' in next(pieces)
            yield pieces


def config(upstream: Simulator, *, plan: Json | None = None, **http: str) -> Json:
    return settings({"sim": upstream.url}, plan=plan, http=http)


@pytest.mark.parametrize("number", STOP, ids=lambda number: number.name)
def test_a_stream_on_its_way_finishes_before_the_gateway_ends(
    slow: Simulator, tmp_path: Path, number: signal.Signals
) -> None:
    with gateway(tmp_path, config(slow)) as process, streaming(process) as rest:
        process.process.send_signal(number)
        text = "".join(rest)

        assert data(text)[-1] == "[DONE]"
        assert process.ended() == 0
    assert process.told(1)[0]["outcome"] == "ok"


def test_an_idle_gateway_ends_at_once(slow: Simulator, tmp_path: Path) -> None:
    with gateway(tmp_path, config(slow)) as process:
        post(process, chat(max_tokens=1))
        began = time.monotonic()
        process.terminate()

        assert process.ended() == 0
        assert time.monotonic() - began < 2


def test_before_it_stops_listening_the_gateway_says_that_it_is_not_ready(
    slow: Simulator, tmp_path: Path
) -> None:
    with gateway(tmp_path, config(slow, drain_delay="700ms")) as process:
        assert ask("GET", f"{process.url}/health/ready").status_code == 200
        process.terminate()

        def is_unready() -> bool:
            return ask("GET", f"{process.url}/health/ready").status_code == 503

        until(is_unready, within=0.5)
        told = ask("GET", f"{process.url}/health/ready")
        assert told.json() == {"ready": False, "message": "draining"}
        assert ask("GET", f"{process.url}/health/live").json() == {"alive": True}
        assert post(process, chat(max_tokens=1)).status_code == 200
        assert process.ended() == 0


def test_when_the_time_to_drain_is_over_a_stream_ends_with_an_error(
    slow: Simulator, tmp_path: Path
) -> None:
    with (
        gateway(tmp_path, config(slow, drain_timeout="200ms")) as process,
        streaming(process) as rest,
    ):
        process.terminate()
        _is_cut(rest)

        assert process.ended() == 0
    until(lambda: slow.state()["running"] == 0)
    assert process.told(1)[0]["outcome"] == "cut"


def test_a_second_signal_ends_streams_at_once(slow: Simulator, tmp_path: Path) -> None:
    with gateway(tmp_path, config(slow)) as process, streaming(process) as rest:
        process.terminate()
        time.sleep(0.1)
        again = time.monotonic()
        process.terminate()
        _is_cut(rest)

        assert process.ended() == 0
        assert time.monotonic() - again < 1.5


def _is_cut(rest: Iterator[str]) -> None:
    """One error event is the last thing that comes, and it comes alone."""
    events = data("".join(rest))
    assert "[DONE]" not in events
    errors = [json.loads(event)["error"] for event in events if '"error"' in event]
    assert [error["code"] for error in errors] == ["gateway_draining"]
    assert "error" in json.loads(events[-1])


@pytest.mark.parametrize("patience", ["10s", "200ms"], ids=["finished", "cut"])
def test_what_was_reserved_is_free_for_the_next_gateway(
    slow: Simulator, redis: RedisServer, tmp_path: Path, patience: str
) -> None:
    limits: Json = {"concurrency": 1, "tokens": f"{LIMIT}/hour"}
    told = config(slow, plan=limits, drain_timeout=patience)
    with (
        gateway(tmp_path / "a", told, LOCKGATE_REDIS_URL=redis.url) as first,
        gateway(tmp_path / "b", told, LOCKGATE_REDIS_URL=redis.url) as second,
    ):
        with streaming(first) as rest:
            assert post(second).status_code == 429
            first.terminate()
            "".join(rest)
            assert first.ended() == 0

        after = post(second, chat(max_tokens=1))
        assert after.status_code == 200
        [record] = first.records()
        used = record["prompt_tokens"] + record["completion_tokens"]
        left = int(after.headers["x-ratelimit-remaining-tokens"])
        assert 0 < used < RESERVED / 2
        assert LIMIT - left < used + RESERVED / 2  # its own reservation is for one token


def test_a_whole_answer_that_is_cut_is_an_error_that_may_be_tried_again(
    slow: Simulator, tmp_path: Path
) -> None:
    with gateway(tmp_path, config(slow, drain_timeout="200ms")) as process:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(post, process)
            until(lambda: slow.state()["running"] == 1)
            process.terminate()
            answer = asked.result()

        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "gateway_draining"
        assert answer.headers["x-should-retry"] == "true"
        assert process.ended() == 0
