"""What the load generator is told to do, and what it tells of it."""

from dataclasses import dataclass
from typing import Literal

from tests.bench.upstream import INTERVAL

Kind = Literal["whole", "streams", "latency"]


@dataclass(frozen=True)
class Job:
    """
    One measurement.

    `whole` keeps `connections` busy with requests, `streams` holds one stream on each, whose events
    come each `interval` seconds; `latency` asks `other_port` and `port` in turn on one connection
    each. Seconds are counted after `warm` seconds of the same. `pid` is the process whose CPU time
    is read, with that of its children. `headers` are further lines of each request's head.
    """

    kind: Kind
    port: int
    pid: int
    key: str
    model: str
    connections: int
    warm: float
    seconds: float
    body_bytes: int = 230
    other_port: int = 0
    interval: float = INTERVAL
    headers: str = ""


@dataclass(frozen=True)
class Measured:
    """
    `count` requests, or events of streams, in `seconds`, for `cpu` seconds of the process.

    Milliseconds: for `latency`, what `port` takes longer than `other_port`; for `streams`, what
    lies between an event's leaving the upstream and its being read.
    """

    count: int
    seconds: float
    cpu: float
    median_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def micros(self) -> float:
        """µs of CPU for each."""
        return self.cpu * 1e6 / self.count

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds

    @property
    def load(self) -> float:
        """How much of one CPU it kept busy."""
        return self.cpu / self.seconds
