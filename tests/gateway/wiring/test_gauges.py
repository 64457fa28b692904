"""What parts count themselves is shown with the metrics."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.application import CHAT, CHAT_PATH, TOKEN, bearer, client, running
from tests.support.simulator import running_simulator


@pytest.fixture
async def samples(tmp_path: Path) -> dict[tuple[str, str], float]:
    """Every sample after one request, by its name and the value of its first label."""
    async with (
        running_simulator(answer_tokens=2) as sim,
        running(tmp_path, sim=sim.url) as gateway,
        client(gateway) as http,
    ):
        assert (await http.post(CHAT_PATH, json=CHAT)).status_code == 200
        answer = await http.get("/metrics", headers=bearer(TOKEN))
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_limiter_the_ledger_and_the_stores_are_shown(
    samples: dict[tuple[str, str], float],
) -> None:
    assert samples["lockgate_limiter_events_total", "admitted"] == 1
    assert samples["lockgate_store_up", "database"] == 1
    assert samples["lockgate_redis_evicts", ""] == 0
    assert samples["lockgate_key_look_ups_total", ""] == 0
    rows = samples["lockgate_ledger_rows_total", "new"]
    assert rows + (samples["lockgate_ledger_queued_bytes", ""] > 0) == 1
    assert ("lockgate_ledger_oldest_seconds", "") in samples
    assert samples["lockgate_upstream_connections", "open"] == 1


def test_what_is_known_of_targets_is_shown(samples: dict[tuple[str, str], float]) -> None:
    assert samples["lockgate_upstream_up", "sim/demo-model"] == 1
    assert samples["lockgate_upstream_ejections_total", "sim/demo-model"] == 0
    assert samples["lockgate_retry_budget_exhausted_total", "sim/demo-model"] == 0
    assert samples["lockgate_provider_credential_disabled", "sim"] == 0


def test_how_busy_providers_are_is_shown(samples: dict[tuple[str, str], float]) -> None:
    assert samples["lockgate_provider_in_flight", "sim"] == 0
    assert samples["lockgate_provider_waiting", "sim"] == 0
    assert ("lockgate_provider_concurrency_limit", "sim") not in samples  # it has none
