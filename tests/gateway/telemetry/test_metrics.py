"""What is counted, and that nobody from outside decides under which name."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from prometheus_client.registry import DuplicateTimeseries

from gateway.contract import errors
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import AttemptRecord
from tests.support.records import record

TARGETS = ("vllm-a/demo-model", "vllm-b/demo-model")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3", models=["chat-small"], targets=TARGETS)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def series(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for family in registry.collect():
        for sample in family.samples:
            yield sample.name, tuple(sorted(sample.labels.items()))


def test_a_request_is_counted_once_of_each_kind(metrics: Metrics) -> None:
    metrics.began("chat")
    assert value(metrics, "lockgate_requests_in_flight", operation="chat") == 1
    metrics.finished(record())
    expected = {
        ("lockgate_requests_in_flight", ("operation", "chat")): 0,
        ("lockgate_tokens_total", ("model", "chat-small"), ("direction", "input")): 12,
        ("lockgate_tokens_total", ("model", "chat-small"), ("direction", "output")): 30,
        ("lockgate_cost_usd_total", ("model", "chat-small")): 0.0000195,
        ("lockgate_attempts_total", ("target", TARGETS[0]), ("result", "upstream_error")): 1,
        ("lockgate_attempts_total", ("target", TARGETS[1]), ("result", "ok")): 1,
        ("lockgate_limit_decisions_total", ("measure", "all"), ("decision", "admitted")): 1,
        ("lockgate_time_to_first_token_seconds_sum", ("model", "chat-small")): 0.8,
        ("lockgate_build_info", ("version", "1.2.3")): 1,
    }
    for (name, *labels), number in expected.items():
        assert value(metrics, name, **dict(labels)) == pytest.approx(number), name
    chat = {"operation": "chat", "model": "chat-small"}
    assert value(metrics, "lockgate_request_duration_seconds_sum", **chat) == pytest.approx(2.5)
    labels = {**chat, "outcome": "ok", "status": "200"}
    assert value(metrics, "lockgate_requests_total", **labels) == 1


def test_a_failover_after_an_attempt_that_may_have_been_worked_on_is_counted(
    metrics: Metrics,
) -> None:
    name = "lockgate_ambiguous_retries_total"
    ended = record()
    ended.attempts[0].ambiguous = True
    metrics.finished(ended)
    assert value(metrics, name, target=TARGETS[0]) == 1

    last = record()
    last.attempts[-1].ambiguous = True  # nobody was asked after it
    metrics.finished(last)
    assert value(metrics, name, target=TARGETS[1]) is None


def test_an_answer_of_another_model_is_counted_by_target(metrics: Metrics) -> None:
    ended = record()
    ended.attempts[-1].served_model = "impostor"

    metrics.finished(ended)

    assert value(metrics, "lockgate_served_model_differs_total", target=TARGETS[1]) == 1


def test_a_refusal_by_a_limit_is_counted_under_the_measure_that_refused(metrics: Metrics) -> None:
    metrics.finished(record(limited_by="tokens", attempts=[], outcome="refused", status=429))
    metrics.finished(record(limited_by="whatever", attempts=[], outcome="refused", status=429))
    metrics.finished(record(attempts=[], admitted=False, outcome="refused", status=401))
    name = "lockgate_limit_decisions_total"
    assert value(metrics, name, measure="tokens", decision="refused") == 1
    assert value(metrics, name, measure="other", decision="refused") == 1
    assert value(metrics, name, measure="all", decision="admitted") == 0


def test_a_whole_answer_has_no_time_to_first_token(metrics: Metrics) -> None:
    metrics.finished(record(stream=False))
    name = "lockgate_time_to_first_token_seconds_count"
    assert value(metrics, name, model="chat-small") == 0


def test_a_request_without_a_model_is_counted_as_other(metrics: Metrics) -> None:
    metrics.finished(record(model="", outcome="refused", status=404))
    labels = {"operation": "chat", "model": "other", "outcome": "refused", "status": "404"}
    assert value(metrics, "lockgate_requests_total", **labels) == 1


def junk(number: int) -> tuple[str, str]:
    return f"junk-{number}", f"word-{number}"


def test_ten_thousand_made_up_names_create_no_series_and_fill_no_cache(metrics: Metrics) -> None:
    def feed(number: int) -> None:
        name, word = junk(number)
        attempt = AttemptRecord(name, name, name, name, 1.0, 2.0, status=number, error=word)
        metrics.began(name)
        metrics.finished(
            record(
                operation=name, model=name, tenant=name, key=name, status=number + 1000,
                outcome=word, error=word, limited_by=word, attempts=[attempt],
            )
        )  # fmt: skip
        attempt = AttemptRecord(TARGETS[0], name, name, name, 1.0, 2.0, error=word)
        metrics.finished(record(model="chat-small", outcome="failed", attempts=[attempt]))

    feed(0)
    before = set(series(metrics.registry))
    caches = [len(each) for each in (metrics._endings, metrics._attempts_of)]
    for number in range(10_000):
        feed(number)
    assert set(series(metrics.registry)) == before
    assert caches == [len(each) for each in (metrics._endings, metrics._attempts_of)]
    text = metrics.render("")[0].decode()
    assert "junk" not in text
    assert "word-" not in text


def test_no_label_names_a_tenant_or_a_key(metrics: Metrics) -> None:
    metrics.finished(record())
    labels = {label for _, pairs in series(metrics.registry) for label, _ in pairs}
    assert labels == {
        "operation", "model", "outcome", "status", "target", "result", "measure", "decision",
        "direction", "le", "version",
    }  # fmt: skip
    text = metrics.render("")[0].decode()
    assert "acme" not in text
    assert "0a1B2c3D4e5F" not in text


def test_every_failure_of_the_contract_has_a_result_of_its_own(metrics: Metrics) -> None:
    for kind in (errors.ProviderTimedOut, errors.ProviderQuotaExhausted, errors.ProviderGarbled):
        attempt = AttemptRecord(TARGETS[0], "a", "vllm", "m", 1.0, 2.0, error=kind.code)
        metrics.finished(record(attempts=[attempt]))
        labels = {"target": TARGETS[0], "result": str(kind.code)}
        assert value(metrics, "lockgate_attempts_total", **labels) == 1


def test_targets_have_a_zero_before_their_first_attempt(metrics: Metrics) -> None:
    assert value(metrics, "lockgate_attempts_total", target=TARGETS[0], result="ok") == 0


def test_a_new_configuration_adds_its_names(metrics: Metrics) -> None:
    metrics.finished(record(model="chat-large"))
    metrics.configure(models=["chat-large"], targets=["hf/x"])
    metrics.finished(record(model="chat-large"))
    labels = {"operation": "chat", "outcome": "ok", "status": "200"}
    assert value(metrics, "lockgate_requests_total", model="other", **labels) == 1
    assert value(metrics, "lockgate_requests_total", model="chat-large", **labels) == 1


def test_parts_of_the_gateway_add_their_own(metrics: Metrics) -> None:
    up = {"a/x": True, "b/y": False}
    metrics.watch_health(lambda: up)
    metrics.watch("lockgate_log_lines_dropped_total", "Lost.", lambda: [((), 7)])
    counter = metrics.counter("lockgate_poison_total", "Refused.", ("why",))
    counter.labels("cut").inc()
    assert value(metrics, "lockgate_upstream_up", target="a/x") == 1
    assert value(metrics, "lockgate_upstream_up", target="b/y") == 0
    up["b/y"] = True
    assert value(metrics, "lockgate_upstream_up", target="b/y") == 1
    assert value(metrics, "lockgate_log_lines_dropped_total") == 7
    assert value(metrics, "lockgate_poison_total", why="cut") == 1
    with pytest.raises(DuplicateTimeseries):
        metrics.watch("lockgate_upstream_up", "Again.", list, ("target",))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("text/plain;version=0.0.4", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics"),
        ("garbage;;;=,", "text/plain"),
    ],
)
def test_what_is_rendered_parses_as_what_it_says_it_is(
    metrics: Metrics, accept: str, kind: str
) -> None:
    metrics.watch_health(lambda: {TARGETS[0]: True})
    metrics.began("chat")
    metrics.finished(record())
    text, content_type = metrics.render(accept)
    assert content_type.startswith(kind)
    parse = open_metrics if kind.endswith("openmetrics") else plain_text
    names = {family.name for family in parse(text.decode())}
    assert {"lockgate_upstream_up", "lockgate_request_duration_seconds"} <= names
    assert not any(name.endswith("_created") for name in names)


@given(st.text(max_size=40))
def test_no_accept_header_breaks_a_scrape(accept: str) -> None:
    metrics = Metrics(version="1")
    assert metrics.render(accept)[0]


def test_a_scrape_stays_below_two_thousand_lines_with_fifty_models() -> None:
    models = [f"m{n}" for n in range(50)]
    metrics = Metrics(version="1", models=models, targets=[f"t{n}" for n in range(50)])
    for model in models:
        metrics.finished(record(model=model, attempts=[]))
    assert len(list(series(metrics.registry))) < 2500
