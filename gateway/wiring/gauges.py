"""Numbers that parts keep themselves, shown beside the request metrics."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from ..health import Health
from ..limits import Limiter
from ..queueing import Queues
from ..telemetry.metrics import Metrics
from ..telemetry.sink import LogSink
from ..upstream import Engine
from .stores import Stores

if TYPE_CHECKING:
    from ..telemetry.spans import Tracing


def watch(
    metrics: Metrics,
    *,
    health: Health,
    transport: Engine,
    stores: Stores,
    sink: LogSink,
    tracing: "Tracing | None",
) -> None:
    """Show them from now on; they are read when somebody asks for metrics."""
    watch_health(metrics, health)
    metrics.watch(
        "lockgate_upstream_connections",
        "Connections to upstreams; an engine of a library tells only of those in use.",
        lambda: [(("open",), transport.open), (("idle",), transport.idle)],
        ("state",),
    )
    _watch_stores(metrics, stores)
    metrics.watch(
        "lockgate_log_lines_dropped_total",
        "Log lines lost because nobody read them.",
        lambda: [((), float(sink.dropped))],
    )
    if tracing is not None:
        metrics.watch(
            "lockgate_spans_total",
            "Spans, by what became of them.",
            lambda: [((name,), float(count)) for name, count in tracing.counts().items()],
            ("result",),
        )


def watch_health(metrics: Metrics, health: Health) -> None:
    """Show what is known of targets and of their providers' credentials."""
    metrics.watch_health(lambda: {name: state.up for name, state in health.states().items()})
    metrics.watch(
        "lockgate_upstream_ejections_total",
        "How often a target was found to fail too often.",
        lambda: [((name,), float(count)) for name, count in health.ejections().items()],
        ("target",),
    )
    metrics.watch(
        "lockgate_retry_budget_exhausted_total",
        "Retries that were not sent because there had been too many.",
        lambda: [((name,), float(count)) for name, count in health.retries_refused().items()],
        ("target",),
    )
    metrics.watch(
        "lockgate_provider_credential_disabled",
        "1 from when a provider's credential was found to be no good until it works again.",
        lambda: [(labels, float(found)) for labels, found in health.credentials().items()],
        ("provider", "reason"),
    )


def watch_queues(metrics: Metrics, queues: Queues) -> None:
    """Show how busy providers are, and who waits for them."""
    metrics.watch(
        "lockgate_provider_in_flight",
        "Requests that a provider holds.",
        lambda: [((name,), float(each.in_flight)) for name, each in queues.states().items()],
        ("provider",),
    )
    metrics.watch(
        "lockgate_provider_waiting",
        "Requests that wait for a provider's slot.",
        lambda: [((name,), float(each.waiting)) for name, each in queues.states().items()],
        ("provider",),
    )
    metrics.watch(
        "lockgate_provider_concurrency_limit",
        "Requests that a provider may hold, where there is a limit: as set, or as it found itself.",
        lambda: [
            ((name,), float(each.limit))
            for name, each in queues.states().items()
            if each.limit is not None
        ],
        ("provider",),
    )


def watch_limiter(metrics: Metrics, limiter: Limiter) -> None:
    """Show what it has seen, and whether its store may forget."""
    metrics.watch(
        "lockgate_limiter_events_total",
        "What the limiter has seen.",
        lambda: [((name,), float(count)) for name, count in asdict(limiter.counts).items()],
        ("event",),
    )
    metrics.watch(
        "lockgate_redis_evicts",
        "1 while Redis would drop limits when it is full: its maxmemory-policy is not noeviction.",
        lambda: [((), float(bool(limiter.evicts)))],
    )


def _watch_stores(metrics: Metrics, stores: Stores) -> None:
    ledger = stores.ledger
    watch_limiter(metrics, stores.limiter)
    metrics.watch(
        "lockgate_idempotency_events_total",
        "What became of requests with an idempotency key, and of their answers.",
        lambda: [((name,), float(n)) for name, n in stores.idempotency.events().items()],
        ("event",),
    )
    metrics.watch(
        "lockgate_ledger_rows_total",
        "Rows of the ledger that this process wrote, by what became of them.",
        lambda: [((name,), float(count)) for name, count in asdict(ledger.counts).items()],
        ("result",),
    )
    metrics.watch(
        "lockgate_ledger_queued_bytes",
        "Rows that wait in this process for the database.",
        lambda: [((), float(ledger.queued_bytes))],
    )
    metrics.watch(
        "lockgate_ledger_oldest_seconds",
        "How long the first of them has waited.",
        lambda: [((), ledger.oldest)],
    )
    if (mover := stores.mover) is not None:
        metrics.watch(
            "lockgate_ledger_moved_rows_total",
            "Rows that this process brought from Redis, by what became of them.",
            lambda: [((name,), float(count)) for name, count in asdict(mover.counts).items()],
            ("result",),
        )
        metrics.watch(
            "lockgate_ledger_backlog_rows",
            "Rows that wait in Redis for the database.",
            lambda: [((), float(mover.backlog))],
        )
    metrics.watch(
        "lockgate_store_up",
        "1 while a store answers.",
        lambda: [((name,), float(up)) for name, up in stores.reachable().items()],
        ("store",),
    )
    metrics.watch(
        "lockgate_key_look_ups_total",
        "Keys that the database was asked for.",
        lambda: [((), float(stores.keys.look_ups))],
    )
