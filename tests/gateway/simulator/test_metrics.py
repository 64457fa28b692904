from prometheus_client.parser import text_string_to_metric_families

from gateway.simulator.metrics import Metrics
from gateway.simulator.state import State


def scraped(state: State) -> dict[str, float]:
    families = text_string_to_metric_families(Metrics(state, capacity=4).text().decode())
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels["model_name"] == "m" and sample.labels["engine"] == "0"
    }


def test_a_scrape_shows_what_was_counted_under_vllms_names() -> None:
    state = State(["m"])
    counts = state.models["m"]
    counts.running, counts.waiting = 2, 3
    counts.prompt_tokens, counts.completion_tokens = 10, 20
    counts.finished["stop"] = 7
    counts.first_token.add(0.5)

    shown = scraped(state)

    assert shown["vllm:num_requests_running"] == 2
    assert shown["vllm:num_requests_waiting"] == 3
    assert shown["vllm:kv_cache_usage_perc"] == 0.5
    assert shown["vllm:prompt_tokens_total"] == 10
    assert shown["vllm:generation_tokens_total"] == 20
    assert shown["vllm:request_success_total"] == 7
    assert shown["vllm:time_to_first_token_seconds_sum"] == 0.5
    assert shown["vllm:time_to_first_token_seconds_count"] == 1


def test_the_names_that_dashboards_read_are_there_before_the_first_request() -> None:
    names = set(scraped(State(["m"])))

    for name in (
        "vllm:inter_token_latency_seconds_count",
        "vllm:e2e_request_latency_seconds_count",
        "vllm:request_queue_time_seconds_count",
        "vllm:num_preemptions_total",
    ):
        assert name in names
