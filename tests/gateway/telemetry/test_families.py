"""Metrics that went through another process are rendered as if they had not."""

import json

import pytest
from prometheus_client.exposition import choose_encoder

from gateway.telemetry.families import read, render
from gateway.telemetry.metrics import Metrics
from tests.support.records import record

ACCEPT = ["", "application/openmetrics-text; version=1.0.0", "text/plain;version=1.0.0"]


@pytest.mark.parametrize("accept", ACCEPT)
def test_they_are_the_same_bytes(accept: str) -> None:
    metrics = Metrics(version="1.2", models=["chat"], targets=["a/x"])
    metrics.began("chat")
    metrics.finished(record(model="chat"))
    metrics.watch("lockgate_things", 'Some "things"\n.', lambda: [(("a",), 1.5)], ("kind",))

    sent = json.loads(json.dumps(read(metrics.registry)))

    encode, kind = choose_encoder(accept)
    assert render(sent, accept) == (encode(metrics.registry), kind)
