"""Which targets are worth trying, and how many retries they may be sent."""

from .health import Health
from .probes import Probes
from .retry_budget import LIFETIME
from .settings import HealthSettings
from .targets import Pool, State, TargetHealth, TargetInfo

__all__ = [
    "Health",
    "HealthSettings",
    "LIFETIME",
    "Pool",
    "Probes",
    "State",
    "TargetHealth",
    "TargetInfo",
]
