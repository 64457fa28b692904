"""Metrics as plain data, which another process can add up and send back to be rendered."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

Family = dict[str, Any]
"""`name`, `type`, `help` and `samples`: lists of a name, labels as pairs, and a value."""


def read(metrics: Collector) -> list[Family]:
    """The families of a registry as they are now."""
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [
                [sample.name, list(sample.labels.items()), sample.value]
                for sample in family.samples
            ],
        }
        for family in metrics.collect()
    ]


def render(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Families and their content type: OpenMetrics where `accept` asks for it."""
    encode, content_type = choose_encoder(accept)
    return encode(_Given(families)), content_type


class _Given(Collector):
    """Families that were read elsewhere."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family["name"], family["help"], family["type"])
            for name, labels, value in family["samples"]:
                metric.add_sample(name, dict(labels), value)
            yield metric
