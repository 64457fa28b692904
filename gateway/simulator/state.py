"""
The simulator's own count of what it did, and the requests it last saw.

Every number is changed where the thing happens, faults or not, so a test can hold a gateway's
accounting against it. Everything kept is bounded.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

SEEN_REQUESTS = 100
SEEN_BODY = 256 * 1024
"""Bytes of a body that are kept for inspection."""

_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60)


class Spread:
    """How long something took, in buckets: cheap to add to, read only when scraped."""

    def __init__(self) -> None:
        self.total = 0.0
        self._counts = [0] * (len(_SECONDS) + 1)

    def add(self, seconds: float) -> None:
        """One more."""
        self.total += seconds
        self._counts[bisect_left(_SECONDS, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and cumulative counts, as Prometheus has them."""
        reached = 0
        shown = []
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self._counts, strict=True):
            reached += count
            shown.append((bound, float(reached)))
        return shown


@dataclass(slots=True)
class Counts:
    """Of one model."""

    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    queued: Spread = field(default_factory=Spread)
    first_token: Spread = field(default_factory=Spread)
    between_tokens: Spread = field(default_factory=Spread)
    whole: Spread = field(default_factory=Spread)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived; read only when somebody asks."""

    method: str
    path: str
    query: bytes
    client: tuple[str, int] | None
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    size: int

    def shown(self) -> dict[str, JsonValue]:
        """For a person or a test: header names in lower case, repeated headers joined."""
        headers: dict[str, JsonValue] = {}
        for name, value in self.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query.decode("latin-1"),
            "client": ":".join(map(str, self.client)) if self.client else None,
            "headers": headers,
            "body": self.body.decode("utf-8", "replace"),
            "body_bytes": self.size,
        }


class State:
    """All that one simulator counts. `requests` are those outside `/simulator/*`."""

    def __init__(self, models: Sequence[str]) -> None:
        self.models = {name: Counts() for name in models}
        self.requests = 0
        self.aborted = 0
        self.by_status: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.seen: deque[Seen] = deque(maxlen=SEEN_REQUESTS)

    def shown(self) -> dict[str, JsonValue]:
        """As JSON. `aborted` counts generations whose client left; a fault is no abort."""
        counts = self.models.values()
        finished: Counter[str] = Counter()
        for each in counts:
            finished.update(each.finished)
        return {
            "requests": self.requests,
            "running": sum(each.running for each in counts),
            "waiting": sum(each.waiting for each in counts),
            "aborted": self.aborted,
            "prompt_tokens": sum(each.prompt_tokens for each in counts),
            "completion_tokens": sum(each.completion_tokens for each in counts),
            "by_status": {str(status): count for status, count in self.by_status.items()},
            "by_finish": dict(finished),
            "faults": dict(self.faults),
        }
