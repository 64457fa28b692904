"""Numbers that are added up here are told as the library tells its own."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.telemetry.tally import Spreads, Tally

BOUNDS = (0.01, 0.5, 1.0, 10.0)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0.0, 20.0)))
def test_a_spread_is_told_as_a_histogram_is(observed: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spreads = Spreads("took_seconds", "How long.", ("model",), BOUNDS)
    ours.register(spreads)
    histogram = Histogram("took_seconds", "How long.", ("model",), buckets=BOUNDS, registry=theirs)
    for value in observed:
        spreads.labels("a").observe(value)
        histogram.labels("a").observe(value)
    spreads.labels("b")
    histogram.labels("b")

    told = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]
    assert generate_latest(ours).splitlines() == told


def test_a_number_is_told_from_when_it_is_known() -> None:
    tally = Tally()
    assert tally.read() == []

    number = tally.labels("a", "b")
    assert tally.read() == [(("a", "b"), 0.0)]
    number.value += 2
    assert tally.labels("a", "b") is number
    assert tally.read() == [(("a", "b"), 2.0)]
