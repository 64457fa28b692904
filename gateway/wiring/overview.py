"""What one process tells of how it is doing, where it serves alone."""

from ..inbound.ops import Health, Ready
from ..inbound.status import GatewayStatus
from ..telemetry.metrics import Metrics


class Alone:
    """Nobody else is asked."""

    def __init__(self, status: GatewayStatus, metrics: Metrics) -> None:
        self.status = status
        self.registry = metrics.registry
        self._metrics = metrics

    async def ready(self) -> Ready:
        """Whether new requests should come here."""
        return self.status.ready()

    async def health(self) -> Health:
        """Everything, component by component."""
        return self.status.health()

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type, by an Accept header."""
        return self._metrics.render(accept)
