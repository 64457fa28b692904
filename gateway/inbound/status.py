"""What the health routes tell: is the gateway ready, and how are the things it depends on."""

from collections.abc import Callable, Mapping

from .. import __version__
from ..health import TargetHealth
from .ops import Component, Health, Ready


class GatewayStatus:
    """
    Ready from the first contact with the stores until the shutdown begins. A store that fails
    later is the limits' policy's business, an upstream that fails never is a matter of readiness.
    `warnings` are of stores that answer, and yet are not as they should be.
    """

    def __init__(
        self,
        targets: Callable[[], Mapping[str, TargetHealth]],
        stores: Callable[[], Mapping[str, bool]],
        clock: Callable[[], float],
        *,
        warnings: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._targets = targets
        self._stores = stores
        self._warnings = warnings
        self._clock = clock
        self._started = clock()
        self._met: set[str] = set()
        self._draining = False

    def drain(self) -> None:
        """From now on the gateway is not ready."""
        self._draining = True

    @property
    def is_draining(self) -> bool:
        """Whether the shutdown has begun."""
        return self._draining

    def meet(self) -> set[str]:
        """Note which stores are within reach; the names of all. Asked again at every `ready`."""
        stores = self._stores()
        self._met |= {name for name, reachable in stores.items() if reachable}
        return set(stores)

    def ready(self) -> Ready:
        """Whether new requests should come here."""
        if self._draining:
            return Ready(ready=False, message="draining")
        if missing := sorted(self.meet() - self._met):
            return Ready(ready=False, message=f"waiting for {', '.join(missing)}")
        return Ready(ready=True, message="taking requests")

    def health(self) -> Health:
        """Everything, component by component."""
        warnings = self._warnings()
        components = {
            name: _store(warnings.get(name, "")) if reachable else Component(status="down")
            for name, reachable in self._stores().items()
        } | {f"target {name}": _shown(state) for name, state in self._targets().items()}
        is_whole = all(component.status == "up" for component in components.values())
        return Health(
            status="draining" if self._draining else "ok" if is_whole else "degraded",
            version=__version__,
            uptime=round(self._clock() - self._started, 3),
            components=components,
        )


def _store(warning: str) -> Component:
    return Component(status="degraded" if warning else "up", detail=warning)


def _shown(target: TargetHealth) -> Component:
    if target.up:
        detail = "" if target.share >= 1 else f"starting slowly, at {target.share:.0%}"
        return Component(status="up", detail=detail)
    is_asked = target.state in {"kept", "probing"}
    told = f" ({target.reason})" if target.reason else ""
    detail = f"{target.state}{told}, tried again in {target.retry_in:.1f} s"
    return Component(status="degraded" if is_asked else "down", detail=detail)
