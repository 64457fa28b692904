"""Numbers that parts keep themselves, shown beside the request metrics."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from ..health import Health
from ..limits import Limiter
from ..telemetry.metrics import Metrics
from ..telemetry.sink import LogSink
from ..upstream import RelayTransport

if TYPE_CHECKING:
    from ..telemetry.spans import Tracing


def watch(
    metrics: Metrics,
    *,
    health: Health,
    transport: RelayTransport,
    limiter: Limiter,
    sink: LogSink,
    tracing: "Tracing | None",
) -> None:
    """Show them from now on; they are read when somebody asks for metrics."""
    metrics.watch_health(lambda: {name: state.up for name, state in health.states().items()})
    metrics.watch(
        "lockgate_upstream_connections",
        "Connections to upstreams.",
        lambda: [(("open",), transport.open), (("idle",), transport.idle)],
        ("state",),
    )
    metrics.watch(
        "lockgate_limiter_events_total",
        "What the limiter has seen.",
        lambda: [((name,), float(count)) for name, count in asdict(limiter.counts).items()],
        ("event",),
    )
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
