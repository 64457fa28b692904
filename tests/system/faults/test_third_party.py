"""Faults that somebody else thought of, and somebody else's opinion of how they are met."""

import json
from collections.abc import Iterator

import pytest

from tests.system.faults.answers import TEXT
from tests.system.faults.bench import Bench, Told, bench, body, model
from tests.system.faults.third_party import Mock, llmock
from tests.system.world import Json

FAULTS: dict[str, tuple[list[Json], list[str | None]]] = {
    "429-with-retry-after": ([{"type": "fail", "status": 429, "retry_after": 0.3}], [None]),
    "503-twice": ([{"type": "fail", "status": 503, "retry_after": 0.2, "times": 2}], [None]),
    "cut-before-content": (
        [{"type": "stream_fault", "kind": "disconnect", "after_chunks": 1}],
        ["upstream_disconnected", None],
    ),
    "cut": (
        [{"type": "stream_fault", "kind": "disconnect", "after_chunks": 3}],
        ["upstream_disconnected", None],
    ),
    "truncated": (
        [{"type": "stream_fault", "kind": "truncate", "after_chunks": 3}],
        ["upstream_disconnected", None],
    ),
    "malformed": (
        [{"type": "stream_fault", "kind": "malformed", "after_chunks": 3}],
        ["upstream_invalid_event", None],
    ),
    "stalled": (
        [{"type": "stream_fault", "kind": "stall", "after_chunks": 3, "stall_seconds": 60}],
        ["upstream_stalled", None],
    ),
    "400": ([{"type": "fail", "status": 400}], ["bad_request"]),
}
"""What happens upstream, and the codes that a client hears until it has its answer."""


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with llmock() as made:
        yield made


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory, mock: Mock) -> Iterator[Bench]:
    """With health as users have it, but for what one target alone would trip over."""
    models = {
        "theirs": model("llmock", retries={"attempts": 3}, timeouts={"stall": "2s"}),
        "theirs-a": model("stopped", "a"),
    }
    folder = tmp_path_factory.mktemp("third-party")
    health = {"consecutive_failures": 100, "failure_rate": 1}
    urls = {"llmock": mock.url, "stopped": mock.url}
    timeouts = {"stopped": {"first_content": "2s"}}
    config = {"models": models}
    with bench(folder, config, names="a", urls=urls, timeouts=timeouts, health=health) as made:
        yield made


def test_a_third_partys_faults_are_met_as_it_thinks_right(wary: Bench, mock: Mock) -> None:
    """Its client is the gateway, with an application behind it that asks again what failed."""
    for case, (faults, codes) in FAULTS.items():
        mock.will(*faults)
        told = _until_answered(wary, mock)
        assert [each.code for each in told] == codes, case
        assert told[-1].is_whole == (codes[-1] is None)

    verdict = mock.report()
    assert verdict.returncode == 0, verdict.stdout
    found = json.loads(verdict.stdout)
    # When it sees that its reader has gone is the kernel's affair: it may have written on by then.
    findings = [each for each in found["findings"] if each["code"] != "malformed_chunk_ignored"]
    assert (found["passed"], findings) == (True, [])
    assert found["faults_injected"] == len(FAULTS) + 1  # 503 twice


def test_05_a_process_that_is_stopped_is_somebody_elses_answer(wary: Bench, mock: Mock) -> None:
    with mock.stopped():
        told = wary.ask_both("theirs-a")

    assert {(each.is_whole, each.attempts, each.said) for each in told} == {(True, 2, TEXT)}
    errors = [wary.record(each)["attempts"][0]["error"] for each in told]
    assert errors == ["upstream_timeout"] * 2
    assert wary.ask("theirs").is_whole


def _until_answered(wary: Bench, mock: Mock) -> list[Told]:
    """What an application is told that asks until it has an answer, or a refusal of its own."""
    content = body("theirs", stream=True)
    told: list[Told] = []
    while not told or (told[-1].status != 400 and not told[-1].is_whole and len(told) < 4):
        told += wary.ask_all([content])
        mock.has_noticed()
    return told
