"""
Numbers that one thread adds up, and that are made into metrics when somebody asks for them.

The library's own take a lock and make checks for each addition, which costs ten times the addition.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Number:
    """One that goes up, or up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Tally:
    """Numbers by the values of their labels."""

    def __init__(self) -> None:
        self._numbers: dict[Labels, Number] = {}

    def labels(self, *values: str) -> Number:
        """The number with these labels, to be kept: it is 0 from now on if it is new."""
        return self._numbers.setdefault(values, Number())

    def read(self) -> list[tuple[Labels, float]]:
        """All of them as they are now."""
        return [(labels, number.value) for labels, number in self._numbers.items()]


class Spread:
    """How many observations fell up to each of some bounds, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """For each bound what is above the one before; the last is above all of them."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Spreads(Collector):
    """A histogram: spreads by the values of their labels."""

    def __init__(self, name: str, told: str, labels: Labels, bounds: tuple[float, ...]) -> None:
        self._name, self._told, self._labels = name, told, labels
        self._bounds = bounds
        self._ends = [*map(floatToGoString, bounds), "+Inf"]
        self._spreads: dict[Labels, Spread] = {}

    def labels(self, *values: str) -> Spread:
        """The spread with these labels, to be kept."""
        return self._spreads.setdefault(values, Spread(self._bounds))

    def describe(self) -> Iterable[Metric]:
        """The family without its values, so that a name can't be taken twice."""
        yield self._family()

    def collect(self) -> Iterable[Metric]:
        """The family as it is now."""
        family = self._family()
        for labels, spread in self._spreads.items():
            buckets = list(zip(self._ends, accumulate(spread.counts), strict=True))
            family.add_metric(labels, buckets, spread.sum)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._told, labels=self._labels)
