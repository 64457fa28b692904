"""
The simulator's count as Prometheus text, under the names that vLLM gives it.

Nothing is kept here: a scrape reads the state, so counting costs a request nothing.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .state import Counts, State

_LABELS = ("model_name", "engine")


class Metrics(Collector):
    """A state as vLLM's metrics; `capacity` is how many requests run at once."""

    def __init__(self, state: State, *, capacity: int) -> None:
        self._state = state
        self._capacity = capacity
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at each scrape."""
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator[Metric]:
        shown = {
            "vllm:num_requests_running": ("Requests in execution.", _running),
            "vllm:num_requests_waiting": ("Requests waiting for their turn.", _waiting),
            "vllm:kv_cache_usage_perc": ("Share of the places in use, 1 is all.", self._usage),
        }
        for name, (text, value) in shown.items():
            gauge = GaugeMetricFamily(name, text, labels=_LABELS)
            for model, counts in self._state.models.items():
                gauge.add_metric((model, "0"), value(counts))
            yield gauge

    def _usage(self, counts: Counts) -> float:
        return counts.running / self._capacity

    def _counters(self) -> Iterator[Metric]:
        prompt = CounterMetricFamily("vllm:prompt_tokens", "Tokens read.", labels=_LABELS)
        written = CounterMetricFamily("vllm:generation_tokens", "Tokens written.", labels=_LABELS)
        preempted = CounterMetricFamily("vllm:num_preemptions", "Always none.", labels=_LABELS)
        finished = CounterMetricFamily(
            "vllm:request_success",
            "Choices finished, by reason.",
            labels=(*_LABELS, "finished_reason"),
        )
        for model, counts in self._state.models.items():
            prompt.add_metric((model, "0"), counts.prompt_tokens)
            written.add_metric((model, "0"), counts.completion_tokens)
            preempted.add_metric((model, "0"), 0)
            for reason, count in counts.finished.items():
                finished.add_metric((model, "0", reason), count)
        yield from (prompt, written, preempted, finished)

    def _histograms(self) -> Iterator[Metric]:
        shown = {
            "vllm:time_to_first_token_seconds": "first_token",
            "vllm:inter_token_latency_seconds": "between_tokens",
            "vllm:e2e_request_latency_seconds": "whole",
            "vllm:request_queue_time_seconds": "queued",
        }
        for name, field in shown.items():
            family = HistogramMetricFamily(name, "Seconds.", labels=_LABELS)
            for model, counts in self._state.models.items():
                spread = getattr(counts, field)
                family.add_metric((model, "0"), spread.buckets(), spread.total)
            yield family


def _running(counts: Counts) -> float:
    return counts.running


def _waiting(counts: Counts) -> float:
    return counts.waiting
