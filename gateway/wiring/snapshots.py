"""
A configuration, made ready for use: everything that a request holds on to while it lasts.

It is made whole beside the one that is in use, so that taking it over is one assignment.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..access import Access, ConfiguredKeys, Failures, FileFirst, KeySource, Peppers
from ..config import Config
from ..contract.provider import AnyProvider, ProviderSettings
from ..limits import Plans
from ..pipeline import Snapshot, Tariff
from ..routing import Routes


@dataclass(frozen=True, slots=True)
class Ready:
    """A configuration and what was made of it."""

    config: Config
    snapshot: Snapshot
    keys: ConfiguredKeys
    failures: Failures
    providers: Collection[AnyProvider]

    @property
    def targets(self) -> frozenset[str]:
        """The names of all targets that can be tried."""
        routes = self.snapshot.routes
        return frozenset(each.name for route in routes for each in route.candidates)


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Makes them over what outlives any configuration. `pepper` is the one that keys are under."""

    build: Callable[[str, ProviderSettings], AnyProvider]
    stored: KeySource
    peppers: Peppers
    pepper: bytes

    def make(self, config: Config, before: Ready | None = None) -> Ready:
        """Make one ready. Where it says the same of failures, what was counted `before` counts."""
        providers = {name: self.build(name, each) for name, each in config.providers.items()}
        keys = ConfiguredKeys(config.tenants, self.pepper)
        failures = _failures(config, before)
        snapshot = Snapshot(
            routes=Routes(config.models, providers),
            access=Access(FileFirst(keys, self.stored), self.peppers, failures=failures),
            plans=Plans(config.plans, config.limits),
            tariff=Tariff(
                config.prices,
                strict=config.limits.token_estimate == "strict",  # noqa: S105 - no password
            ),
        )
        return Ready(config, snapshot, keys, failures, providers.values())


def _failures(config: Config, before: Ready | None) -> Failures:
    if before is not None and before.config.access.failures == config.access.failures:
        return before.failures
    return Failures(config.access.failures)
