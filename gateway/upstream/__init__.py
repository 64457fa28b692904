"""The only place that opens sockets to providers: connections, deadlines, and names of errors."""

from .answer import UpstreamAnswer
from .client import Sending, Upstream
from .deadline import Deadline
from .exchange import Engine
from .settings import UpstreamSettings
from .transport import RelayTransport

__all__ = [
    "Deadline",
    "Engine",
    "RelayTransport",
    "Sending",
    "Upstream",
    "UpstreamAnswer",
    "UpstreamSettings",
]
