"""A configuration that changes while a real gateway runs: by signal, by request, in all of it."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest

from tests.system.world import (
    KEY,
    OPERATOR,
    Gateway,
    Json,
    Simulator,
    ask,
    bearer,
    chat,
    data,
    gateway,
    key,
    post,
    settings,
    simulator,
    until,
)

FRESH = key(41)
ROUNDS = 6
SOON = 20.0
"""Seconds that a reload may take on a busy machine."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Simulator]]:
    options = ("--tokens-per-second", "40", "--answer-tokens", "60")
    folder = tmp_path_factory.mktemp("pair")
    with simulator(folder, *options) as first, simulator(folder, *options) as second:
        yield first, second


def write(folder: Path, config: Json) -> None:
    (folder / "gateway.yaml").write_text(json.dumps(config, indent=1))


def hang_up(process: Gateway, *, reloads: int = 0, failures: int = 0) -> None:
    """SIGHUP, and wait until it has reloaded or failed so many times in all."""
    process.process.send_signal(signal.SIGHUP)

    def told() -> bool:
        counted = process.metrics()
        return (
            counted["lockgate_config_reloads_total"] == reloads
            and counted["lockgate_config_reload_failures_total"] == failures
        )

    until(told, within=SOON)


def test_a_signal_takes_over_a_good_file_and_leaves_a_bad_one(
    pair: tuple[Simulator, Simulator], tmp_path: Path
) -> None:
    config = settings({"a": pair[0].url}, model={"expose_target": True})
    with gateway(tmp_path, config) as process:
        assert post(process, chat(max_tokens=1), authorization=f"Bearer {FRESH}").status_code == 401
        fresh = {"models": ["*"], "keys": [{"name": "ci", "key": FRESH}]}
        more = {**config, "tenants": {**config["tenants"], "fresh": fresh}}
        write(tmp_path, more)
        hang_up(process, reloads=1)
        assert post(process, chat(max_tokens=1), authorization=f"Bearer {FRESH}").status_code == 200

        write(tmp_path, {**more, "modles": {}})
        hang_up(process, reloads=1, failures=1)
        assert post(process, chat(max_tokens=1), authorization=f"Bearer {FRESH}").status_code == 200
        until(lambda: bool(process.records("config_reload_failed")), within=SOON)
        [told] = process.records("config_reload_failed")
        assert "modles" in told["faults"][0]

        write(tmp_path, config)
        hang_up(process, reloads=2, failures=1)
        assert post(process, chat(max_tokens=1), authorization=f"Bearer {FRESH}").status_code == 401


def test_reloads_under_load_fail_no_request_and_move_no_stream(
    pair: tuple[Simulator, Simulator], tmp_path: Path
) -> None:
    """Row 79: each reload takes one target away and brings the other."""
    configs = [
        settings({name: each.url}, model={"expose_target": True})
        for name, each in zip("ab", pair, strict=True)
    ]
    done = Event()

    def asking(process: Gateway) -> set[int]:
        statuses = set()
        while not done.is_set():
            statuses.add(post(process, chat(max_tokens=1)).status_code)
        return statuses

    def streaming(process: Gateway, begun: Event) -> tuple[str | None, list[str]]:
        url = f"{process.url}/v1/chat/completions"
        body = chat(stream=True)
        with (
            httpx.Client(headers=bearer(), verify=False, timeout=30) as client,
            client.stream("POST", url, json=body) as answer,
        ):
            pieces = answer.iter_text()
            first = next(pieces)
            begun.set()
            return answer.headers.get("x-lockgate-target"), data(first + "".join(pieces))

    with (
        gateway(tmp_path, configs[0]) as process,
        ThreadPoolExecutor(ROUNDS + 2) as pool,
    ):
        askers = [pool.submit(asking, process) for _ in range(2)]
        streams = []
        try:
            for number in range(1, ROUNDS + 1):
                begun = Event()
                streams.append(pool.submit(streaming, process, begun))
                assert begun.wait(SOON)
                write(tmp_path, configs[number % 2])
                hang_up(process, reloads=number)
        finally:
            done.set()
        statuses = set().union(*(each.result() for each in askers))
        told = [each.result() for each in streams]

    assert statuses == {200}
    assert [target for target, _ in told] == ["a/demo-model", "b/demo-model"] * (ROUNDS // 2)
    assert all(events[-1] == "[DONE]" for _, events in told)


def test_an_operator_reloads_over_http_and_reads_the_faults(
    pair: tuple[Simulator, Simulator], tmp_path: Path
) -> None:
    config = settings({"a": pair[0].url})

    def reload(process: Gateway) -> httpx.Response:
        headers = {"authorization": f"Bearer {OPERATOR}"}
        return ask("POST", f"{process.url}/admin/v1/config/reload", headers=headers)

    with gateway(tmp_path, config) as process:
        write(tmp_path, {**config, "http": {"max_body": 2_000_000}})
        assert reload(process).json()["needs_restart"] == ["http.max_body"]
        write(tmp_path, {**config, "plans": {}})
        refused = reload(process)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "config_refused")
        assert "default" in refused.json()["error"]["message"]
        assert KEY not in refused.text
        assert post(process, chat(max_tokens=1)).status_code == 200
