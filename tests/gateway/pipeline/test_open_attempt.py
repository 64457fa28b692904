"""One attempt at a time: its slot and its health's probe are given back, and health hears once."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from gateway.contract.errors import ProviderError, ProviderRefused
from tests.support.pipeline import (
    FINISH,
    GOOD,
    HANGS_UP,
    UNREACHABLE,
    Bench,
    Gate,
    Says,
    pipeline_of,
    refuses,
    streams,
    text,
)

ENDS: dict[str, Says] = {
    "answers": GOOD,
    "refuses": refuses(503),
    "rejects": refuses(400),
    "hangs up": HANGS_UP,
    "unreachable": UNREACHABLE,
    "breaks off": streams(text("x")),
    "babbles": streams(b"data: {\n\n", FINISH),
}


def heard_by_health(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often health hears of each target."""
    heard: Counter[str] = Counter()
    succeeded, failed = bench.health.succeeded, bench.health.failed

    def well(name: str) -> None:
        heard[name] += 1
        succeeded(name)

    def ill(name: str, error: ProviderError) -> None:
        heard[name] += 1
        failed(name, error)

    monkeypatch.setattr(bench.health, "succeeded", well)
    monkeypatch.setattr(bench.health, "failed", ill)
    return heard


@pytest.mark.parametrize("end", ENDS)
async def test_health_hears_of_an_attempt_once_however_it_ends(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = pipeline_of(ENDS[end], retries={"attempts": 1})
    heard = heard_by_health(bench, monkeypatch)

    with suppress(ProviderError):
        await bench.ask()

    # What was the request's own fault is a success of its target's, told within the failure.
    assert heard == {"a/m": 2 if end == "rejects" else 1}
    bench.check_nothing_is_left()


async def test_the_slot_of_an_attempt_that_failed_is_free_before_the_next_is_made() -> None:
    gate = Gate()
    bench = pipeline_of(refuses(503), streams(*GOOD.steps, before=(gate,)))

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.ask())
        await gate.reached.wait()
        assert bench.pipeline.queues.taken() == 1
        gate.open()

    bench.check_nothing_is_left()


async def test_nobody_serves_once_an_attempt_has_failed() -> None:
    bench = pipeline_of(refuses(503), retries={"attempts": 1})
    request = bench.request()

    with pytest.raises(ProviderRefused):
        await bench.ask(request)

    assert request.serving is None
    assert bench.record.target == ""
