"""The only place that opens sockets to providers: connections, deadlines, and names of errors."""

from .client import Upstream, UpstreamAnswer
from .deadline import Deadline
from .transport import RelayTransport, UpstreamSettings

__all__ = ["Deadline", "RelayTransport", "Upstream", "UpstreamAnswer", "UpstreamSettings"]
