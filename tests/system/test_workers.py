"""Several workers behind one address, as real processes: one gateway, whichever of them answers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer
from tests.system.world import (
    OPERATOR,
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    chat,
    data,
    environment,
    gateway,
    key,
    post,
    settings,
    simulator,
    until,
)

SOON = 30.0
"""Seconds that starting, replacing or ending a process may take on a busy machine."""
FRESH = key(41)
MANY = 24
"""Requests on connections of their own, of which no worker gets all in practice."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    options = ("--tokens-per-second", "25", "--answer-tokens", "60")
    with simulator(tmp_path_factory.mktemp("simulator"), *options) as server:
        yield server


def workers(
    folder: Path, config: Json, redis: RedisServer, **variables: str
) -> AbstractContextManager[Gateway]:
    """A gateway of two workers."""
    given = {"LOCKGATE_WORKERS": "2", "LOCKGATE_REDIS_URL": redis.url, **variables}
    return gateway(folder, config, **given)


def children(process: Gateway) -> list[int]:
    """The process ids of the workers."""
    return [
        int(each)
        for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


def is_there(pid: int) -> bool:
    """Whether a process runs, rather than waits for its parent to notice its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def posted(process: Gateway, count: int = MANY, secret: str | None = None) -> list[int]:
    """The statuses of so many requests at once."""
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(post, process, chat(max_tokens=1), **headers) for _ in range(count)]
        return [each.result().status_code for each in asked]


def operator(process: Gateway, method: str, path: str) -> httpx.Response:
    return ask(method, f"{process.url}{path}", headers={"authorization": f"Bearer {OPERATOR}"})


def _requests(counted: dict[str, float]) -> float:
    return sum(v for name, v in counted.items() if name.startswith("lockgate_requests_total"))


def test_workers_count_limits_and_metrics_together(
    upstream: Simulator, redis: RedisServer, tmp_path: Path
) -> None:
    plan = {"requests": f"{MANY}/day"}
    config = settings({"sim": upstream.url}, plan=plan, limits={"deadline": "5s"})
    with workers(tmp_path, config, redis) as process:
        assert len(children(process)) == 2
        statuses = posted(process, 2 * MANY)
        # An answer is counted once all of it has gone out.
        until(lambda: _requests(process.metrics()) == 2 * MANY, within=SOON)
        counted = process.metrics()

        assert (statuses.count(200), statuses.count(429)) == (MANY, MANY)
        assert counted['lockgate_attempts_total{result="ok",target="sim/demo-model"}'] == MANY
        lasted = 'lockgate_request_duration_seconds_count{model="chat",operation="chat"}'
        assert counted[lasted] == 2 * MANY
        assert counted["lockgate_workers"] == 2
        assert counted['lockgate_build_info{version="0.1.0"}'] == 1
        detail = operator(process, "GET", "/health/").json()
        assert {"worker 1", "worker 2", "redis", "target sim/demo-model"} <= detail[
            "components"
        ].keys()
        assert detail["status"] == "ok"


def test_a_worker_that_dies_is_replaced_and_what_it_has_counted_is_not_forgotten(
    upstream: Simulator, redis: RedisServer, tmp_path: Path
) -> None:
    config = settings({"sim": upstream.url})
    ok = 'lockgate_attempts_total{result="ok",target="sim/demo-model"}'
    with workers(tmp_path, config, redis) as process:
        assert set(posted(process)) == {200}
        until(lambda: process.metrics()[ok] == MANY, within=SOON)
        before = children(process)
        # What the others were given holds, whatever somebody has made of the file meanwhile.
        (tmp_path / "gateway.yaml").write_text("nonsense")
        os.kill(before[0], signal.SIGKILL)
        until(lambda: not is_there(before[0]), within=SOON)
        assert set(posted(process)) == {200}

        def replaced() -> bool:
            told = process.metrics()
            return (told["lockgate_workers"], told["lockgate_worker_restarts_total"]) == (2, 1)

        until(replaced, within=SOON)
        assert ask("GET", f"{process.url}/health/ready").status_code == 200
        assert set(posted(process)) == {200}
        until(lambda: process.metrics()[ok] == 3 * MANY, within=SOON)
        assert before[1] in children(process)
        assert "worker 1 ended (signal 9)" in process.output


def test_a_reload_reaches_all_workers_or_none(
    upstream: Simulator, redis: RedisServer, tmp_path: Path
) -> None:
    config = settings({"sim": upstream.url})
    fresh = {"models": ["*"], "keys": [{"name": "ci", "key": FRESH}]}
    file = tmp_path / "gateway.yaml"
    with workers(tmp_path, config, redis) as process:
        assert set(posted(process, secret=FRESH)) == {401}

        file.write_text(json.dumps({**config, "tenants": {**config["tenants"], "fresh": fresh}}))
        done = operator(process, "POST", "/admin/v1/config/reload")
        assert (done.status_code, done.json()["needs_restart"]) == (200, [])
        assert set(posted(process, secret=FRESH)) == {200}

        file.write_text(json.dumps({**config, "modles": {}}))
        refused = operator(process, "POST", "/admin/v1/config/reload")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "config_refused")
        assert "modles" in refused.json()["error"]["message"]
        assert set(posted(process, secret=FRESH)) == {200}

        file.write_text(json.dumps(config))
        process.process.send_signal(signal.SIGHUP)
        until(lambda: process.metrics()["lockgate_config_reloads_total"] == 2, within=SOON)
        assert process.metrics()["lockgate_config_reload_failures_total"] == 1
        assert set(posted(process, secret=FRESH)) == {401}
        until(lambda: len(process.records("config_reloaded")) == 4, within=SOON)


def test_whoever_signs_in_at_one_worker_is_known_to_all(
    upstream: Simulator, redis: RedisServer, tmp_path: Path
) -> None:
    config = settings({"sim": upstream.url})
    with workers(tmp_path, config, redis, LOCKGATE_JWT_SECRET="") as process:
        admin, password = f"{process.url}/admin/v1", "correct horse battery staple"
        made = {"name": "anna", "password": password, "role": "viewer"}
        token = {"authorization": f"Bearer {OPERATOR}"}
        assert ask("POST", f"{admin}/operators", json=made, headers=token).status_code == 201
        sent = {"name": "anna", "password": password}
        session = ask("POST", f"{admin}/sessions", json=sent).raise_for_status().json()
        headers = {"authorization": f"Bearer {session['token']}"}
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, "GET", f"{admin}/me", headers=headers) for _ in range(MANY)]
            assert {each.result().status_code for each in asked} == {200}


def streamed(process: Gateway) -> str:
    """The last event of a stream."""
    url = f"{process.url}/v1/chat/completions"
    return data(ask("POST", url, json=chat(stream=True), headers=bearer()).text)[-1]


def test_a_service_manager_that_tells_every_process_itself_cuts_nothing(
    upstream: Simulator, redis: RedisServer, tmp_path: Path
) -> None:
    config = settings({"sim": upstream.url})
    with workers(tmp_path, config, redis) as process, ThreadPoolExecutor(4) as pool:
        upstream.fresh()
        streams = [pool.submit(streamed, process) for _ in range(4)]
        until(lambda: upstream.state()["running"] == 4, within=SOON)
        for pid in (process.pid, *children(process)):
            os.kill(pid, signal.SIGTERM)

        assert [each.result() for each in streams] == ["[DONE]"] * 4
        assert process.ended(SOON) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told to", "orphaned"])
def test_workers_drain_when_they_are_told_to_and_when_nobody_is_left_to_tell_them(
    upstream: Simulator, redis: RedisServer, tmp_path: Path, number: signal.Signals
) -> None:
    config = settings({"sim": upstream.url})
    with workers(tmp_path, config, redis) as process, ThreadPoolExecutor(4) as pool:
        pids = children(process)
        upstream.fresh()
        streams = [pool.submit(streamed, process) for _ in range(4)]
        until(lambda: upstream.state()["running"] == 4, within=SOON)
        process.process.send_signal(number)

        assert [each.result() for each in streams] == ["[DONE]"] * 4
        assert process.ended(SOON) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        until(lambda: not any(map(is_there, pids)), within=SOON)


def test_a_second_signal_cuts_at_all_workers(
    upstream: Simulator, redis: RedisServer, tmp_path: Path
) -> None:
    config = settings({"sim": upstream.url})
    with workers(tmp_path, config, redis) as process, ThreadPoolExecutor(4) as pool:
        upstream.fresh()
        streams = [pool.submit(streamed, process) for _ in range(4)]
        until(lambda: upstream.state()["running"] == 4, within=SOON)
        process.process.send_signal(signal.SIGINT)
        until(lambda: ask_ready(process) != 200, within=SOON)
        process.process.send_signal(signal.SIGINT)

        codes = [json.loads(each.result())["error"]["code"] for each in streams]
        assert codes == ["gateway_draining"] * 4
        assert process.ended(SOON) == 0


def ask_ready(process: Gateway) -> int:
    try:
        return ask("GET", f"{process.url}/health/ready").status_code
    except httpx.TransportError:
        return 0


def failed(folder: Path, config: str, *options: str, **variables: str) -> tuple[int, str]:
    """A start that comes to nothing: its exit code, and what it has said."""
    (folder / "gateway.yaml").write_text(config)
    env = environment(
        LOCKGATE_CONFIG=str(folder / "gateway.yaml"),
        LOCKGATE_STATE_DIR=str(folder),
        LOCKGATE_PORT="0",
        **variables,
    )
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--workers", "2", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=env,
        cwd=ROOT,
    )
    return done.returncode, done.stderr


def test_what_can_not_be_started_is_told_once(redis: RedisServer, tmp_path: Path) -> None:
    code, told = failed(tmp_path, "models: 1\n", LOCKGATE_REDIS_URL=redis.url)

    assert code == 2
    assert told.count("models: must be a mapping") == 1
    assert "Traceback" not in told

    config = settings({"sim": "http://127.0.0.1:9"}, limits={"max_replicas": 1})
    code, told = failed(tmp_path, json.dumps(config), LOCKGATE_REDIS_URL=redis.url)
    assert code == 2
    assert told.count("limits.max_replicas is smaller than LOCKGATE_WORKERS") == 1


def test_workers_without_redis_are_refused_in_one_line(tmp_path: Path) -> None:
    code, told = failed(tmp_path, "")

    assert code == 2
    assert told.count("\n") == 1
    assert "LOCKGATE_REDIS_URL" in told
