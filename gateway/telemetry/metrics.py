"""
What Prometheus scrapes: one count or observation of each kind per request.

What stays true: a label value is a configured name or one of a closed set, and whatever else
turns up is counted as `other`. A client can't create a series, and neither can an upstream. No
label names a tenant or a key.

Hot: `Metrics.finished` runs once a request, in the event loop's thread as all that counts here;
numbers are looked up by the record's own fields.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Info,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..contract import errors
from .record import AttemptRecord, Record
from .tally import Labels, Number, Spread, Spreads, Tally

OTHER = "other"
OPERATIONS = frozenset({"chat", "completion", "embedding", "models"})
MEASURES = frozenset({"requests", "tokens", "concurrency", "money"})
OUTCOMES = frozenset({"ok", "refused", "failed", "cut", "hung_up"})
STATUSES = frozenset(
    {0, 200, 400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 499, 500, 502, 503, 504}
)

NANO = 10**9
"""Nano-dollars in a USD."""

_OUTSIDE_THE_CONTRACT = frozenset({"upstream_rejected", "client_hung_up", "internal_error"})
_ALARMING = ("upstream_auth_error", "upstream_quota_exhausted", "upstream_model_missing")
"""Alerts look for the first of these, and a rise needs a zero to start from."""

DURATIONS = tuple(0.01 * 2**n for n in range(17))
"""Seconds, 10 ms to 11 min: the GenAI conventions' buckets, carried on to the longest answers."""
FIRST_TOKENS = (
    0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Seconds: the GenAI conventions' buckets, carried on to the default time-out."""

Reading = Iterable[tuple[Labels, float]]


class Metrics:
    """
    An observer that counts, and the registry that renders the counts.

    `models` and `targets` are the configured names: no others become label values.
    """

    def __init__(
        self, *, version: str, models: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        # The times of creation are a third of all series, for nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type here
        self.registry = CollectorRegistry(auto_describe=False)
        self._models: frozenset[str] = frozenset()
        self._targets: frozenset[str] = frozenset()
        self._results = _results()
        self._requests = self._tally(
            "lockgate_requests_total",
            "Requests that have ended.",
            ("operation", "model", "outcome", "status"),
        )
        self._attempts = self._tally(
            "lockgate_attempts_total", "Requests sent to targets.", ("target", "result")
        )
        self._ambiguous = self.counter(
            "lockgate_ambiguous_retries_total",
            "Attempts that may have been worked on, after which another target was asked.",
            ("target",),
        )
        self._served = self.counter(
            "lockgate_served_model_differs_total",
            "Answers whose upstream called itself another model than it was asked for.",
            ("target",),
        )
        self._decisions = self._tally(
            "lockgate_limit_decisions_total",
            "Requests admitted by all of their limits, or refused by the one named.",
            ("measure", "decision"),
        )
        self._tokens = self._tally(
            "lockgate_tokens_total", "Tokens read and written by models.", ("model", "direction")
        )
        self._cost = self._tally(
            "lockgate_cost_usd_total", "What requests cost, by the prices known here.", ("model",)
        )
        self._duration = Spreads(
            "lockgate_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            ("operation", "model"),
            DURATIONS,
        )
        self._first_token = Spreads(
            "lockgate_time_to_first_token_seconds",
            "From the first byte of a request to the first content of its answer, if streamed.",
            ("model",),
            FIRST_TOKENS,
        )
        self.registry.register(self._duration)
        self.registry.register(self._first_token)
        in_flight = self._tally(
            "lockgate_requests_in_flight",
            "Requests that have begun and not ended.",
            ("operation",),
        )
        Info("lockgate_build", "The version that runs.", registry=self.registry).info(
            {"version": version}
        )
        self._endings: dict[tuple[str, str, str, int], _Ending] = {}
        self._attempts_of: dict[tuple[str, str | None], Number] = {}
        self._in_flight_of = {name: in_flight.labels(name) for name in OPERATIONS}
        self._other_in_flight = in_flight.labels(OTHER)
        self._admitted = self._decisions.labels("all", "admitted")
        self._refused = {name: self._decisions.labels(name, "refused") for name in MEASURES}
        self._other_refused = self._decisions.labels(OTHER, "refused")
        self.configure(models=models, targets=targets)

    def configure(self, *, models: Collection[str], targets: Collection[str]) -> None:
        """Take over a new configuration's names. Series of names that are gone stay."""
        self._models |= frozenset(models)
        self._targets |= frozenset(targets)
        for target in targets:
            for error in (None, *_ALARMING):
                self._attempt(target, error)

    def counter(self, name: str, told: str, labels: Labels = ()) -> Counter:
        """A counter for one of the gateway's parts. The labels' values must be a closed set."""
        return Counter(name, told, labels, registry=self.registry)

    def watch(self, name: str, told: str, read: Callable[[], Reading], labels: Labels = ()) -> None:
        """
        A number that a part keeps itself, read at every scrape; a name in `_total` is a counter.

        `read` gives label values with the number, in the order of `labels`, which must be a closed
        set. It must not raise.
        """
        self.registry.register(_Watched(name, told, labels, read))

    def watch_health(self, states: Callable[[], Mapping[str, bool]]) -> None:
        """Show which targets are up: `states` is read at every scrape."""
        self.watch(
            "lockgate_upstream_up",
            "1 while a target takes requests freely, 0 while it is left alone or probed.",
            lambda: [((target,), float(up)) for target, up in states().items()],
            ("target",),
        )

    def began(self, operation: str) -> None:
        """Count it as in flight."""
        self._in_flight_of.get(operation, self._other_in_flight).value += 1

    def finished(self, record: Record) -> None:
        """Count everything about it."""
        key = (record.operation, record.model, record.outcome, record.status)
        ending = self._endings.get(key) or self._ending(key)
        ending.in_flight.value -= 1
        ending.requests.value += 1
        ending.duration.observe(record.ended - record.started)
        if record.stream and record.first_content is not None:
            ending.first_token.observe(record.first_content - record.started)
        ending.read.value += record.prompt_tokens
        ending.written.value += record.completion_tokens
        if record.cost:
            ending.cost.value += record.cost / NANO
        for attempt in record.attempts:
            tried = (attempt.target, attempt.error)
            (self._attempts_of.get(tried) or self._attempt(*tried)).value += 1
            if attempt.ambiguous or attempt.served_model:
                self._count_doubts(attempt, is_last=attempt is record.attempts[-1])
        if record.limited_by is not None:
            self._refused.get(record.limited_by, self._other_refused).value += 1
        elif record.admitted:
            self._admitted.value += 1

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type: OpenMetrics where `accept` asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _count_doubts(self, attempt: AttemptRecord, *, is_last: bool) -> None:
        if attempt.ambiguous and not is_last:
            self._ambiguous.labels(_known(attempt.target, self._targets)).inc()
        if attempt.served_model:
            self._served.labels(_known(attempt.target, self._targets)).inc()

    # Below: what runs once for a series. A key is remembered only if none of it was replaced,
    # so that made-up names fill no cache either.

    def _tally(self, name: str, told: str, labels: Labels) -> Tally:
        tally = Tally()
        self.watch(name, told, tally.read, labels)
        return tally

    def _attempt(self, target: str, error: str | None) -> Number:
        known = _known(target, self._targets)
        result = "ok" if error is None else _known(error, self._results)
        number = self._attempts.labels(known, result)
        if known == target and result == (error or "ok"):
            self._attempts_of[target, error] = number
        return number

    def _ending(self, key: tuple[str, str, str, int]) -> "_Ending":
        operation, model, outcome, status = key
        labels = (
            _known(operation, OPERATIONS),
            _known(model, self._models),
            _known(outcome, OUTCOMES),
            str(status) if status in STATUSES else OTHER,
        )
        made = _Ending(
            in_flight=self._in_flight_of.get(operation, self._other_in_flight),
            requests=self._requests.labels(*labels),
            duration=self._duration.labels(*labels[:2]),
            first_token=self._first_token.labels(labels[1]),
            read=self._tokens.labels(labels[1], "input"),
            written=self._tokens.labels(labels[1], "output"),
            cost=self._cost.labels(labels[1]),
        )
        if labels == (operation, model or OTHER, outcome, str(status)):
            self._endings[key] = made
        return made


@dataclass(slots=True)
class _Ending:
    """What a request adds to that ended in one way."""

    in_flight: Number
    requests: Number
    duration: Spread
    first_token: Spread
    read: Number
    written: Number
    cost: Number


class _Watched(Collector):
    """One family whose values are kept elsewhere."""

    def __init__(self, name: str, told: str, labels: Labels, read: Callable[[], Reading]) -> None:
        self._name, self._told, self._labels = name, told, labels
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """The family without its values, so that a name can't be taken twice."""
        yield self._family()

    def collect(self) -> Iterable[Metric]:
        """The family as it is now."""
        family = self._family()
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if self._name.endswith("_total") else GaugeMetricFamily
        return kind(self._name, self._told, labels=self._labels)


def _known(value: str, names: frozenset[str]) -> str:
    return value if value in names else OTHER


def _results() -> frozenset[str]:
    """How an attempt can end, by the contract: an upstream's own words are not among them."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    failures = [kind for kind in kinds if issubclass(kind, errors.ProviderError)]
    codes = {kind.code for kind in failures if kind.code}
    return _OUTSIDE_THE_CONTRACT.union(codes, *(kind.narrower for kind in failures))
