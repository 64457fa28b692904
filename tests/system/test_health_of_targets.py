"""Targets that die or lose their credential are left before clients notice."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.world import (
    Gateway,
    Simulator,
    chat,
    gateway,
    post,
    settings,
    simulator,
    until,
    vllm,
)

SLOW = 60.0
"""Seconds for what nobody promised a time for."""

OPERATORS_KEY = "sk-the-operators-own-canary"
TWO_STRIKES = {"consecutive_failures": 2, "cool_down": "60s", "ramp": 0}


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "second") as process:
        yield process


def is_up(process: Gateway, target: str) -> bool:
    return process.metrics()[f'lockgate_upstream_up{{target="{target}"}}'] == 1


def test_a_probed_target_that_dies_is_left_before_any_client_notices_and_comes_back(
    tmp_path: Path, second: Simulator
) -> None:
    with simulator(tmp_path / "first") as first:
        config = settings({"a": first.url, "b": second.url}, model={"expose_target": True})
        config["providers"]["a"] = vllm(first.url, probe={"every": "100ms", "timeout": "20s"})
        config["health"] = TWO_STRIKES
        with gateway(tmp_path / "gateway", config) as process:
            until(lambda: len(first.requests()) >= 2, within=SLOW)
            assert {seen["path"] for seen in first.requests()} == {"/health"}
            assert post(process).headers["x-lockgate-target"] == "a/demo-model"

            first.kill()
            until(lambda: not is_up(process, "a/demo-model"), within=SLOW)
            answers = [post(process) for _ in range(20)]
            assert {each.status_code for each in answers} == {200}
            assert {each.headers["x-lockgate-attempts"] for each in answers} == {"1"}
            assert {each.headers["x-lockgate-target"] for each in answers} == {"b/demo-model"}

            with simulator(tmp_path / "again", port=urlsplit(first.url).port or 0):
                until(lambda: is_up(process, "a/demo-model"), within=SLOW)
                answer = post(process)
                assert answer.headers["x-lockgate-target"] == "a/demo-model"
                assert answer.headers["x-lockgate-attempts"] == "1"

            until(lambda: bool(process.records("target_back")), within=SLOW)
            [went] = process.records("target_alert")
            [came] = process.records("target_back")
            assert (went["target"], came["target"]) == ("a/demo-model", "a/demo-model")


def test_a_credential_that_is_refused_takes_all_targets_of_its_provider_out(
    tmp_path: Path, second: Simulator
) -> None:
    with simulator(tmp_path / "first") as first:
        config = settings({"a": first.url, "b": second.url})
        config["providers"]["a"] = vllm(first.url, api_key=OPERATORS_KEY)
        config["health"] = {}  # as users have it
        theirs = {"provider": "a", "model": "another-model"}
        ours = config["models"]["chat"]["targets"][1]
        config["models"]["other"] = {"targets": [theirs, ours], "max_output": 64}
        config["models"]["only-theirs"] = {"targets": [theirs], "max_output": 64}
        body = f'{{"error": {{"message": "Incorrect API key provided: {OPERATORS_KEY}"}}}}'
        first.faults({"kind": "status", "status": 401, "body": body})

        with gateway(tmp_path / "gateway", config) as process:
            answers = [post(process)]
            answers += [post(process, chat(model="other")) for _ in range(5)]
            assert [each.status_code for each in answers] == [200] * 6
            assert [each.headers["x-lockgate-attempts"] for each in answers] == ["2"] + ["1"] * 5
            assert len(first.requests()) == 1

            refused = post(process, chat(model="only-theirs"))
            assert refused.status_code in {502, 503}
            told = process.metrics()
            labels = 'provider="a",reason="upstream_auth_error"'
            assert told[f"lockgate_provider_credential_disabled{{{labels}}}"] == 1
            assert not is_up(process, "a/another-model")
            assert is_up(process, "b/demo-model")
            until(lambda: bool(process.records("target_alert")))
            [alert] = process.records("target_alert")
            assert (alert["provider"], alert["reason"]) == ("a", "upstream_auth_error")
            assert alert["level"] == "warning"
            shown = [each.text for each in (*answers, refused)]
            assert OPERATORS_KEY not in "".join([process.output, *shown])
