"""What health is told of a target, and what it tells."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

State = Literal["up", "cooling", "open", "kept", "probing"]
"""
`up`: tried freely. `cooling`: told us when to come back, or its provider's credential is no good.
`open`: failed too often. `kept`: likewise, but too many others of its pool are open already, so
it is tried when no better one is left. `probing`: its time is over and one request at a time finds
out.
"""

Pool: TypeAlias = tuple[str, str]
"""A model and an operation: targets of one pool may stand in for one another."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """
    What is configured of a target.

    `settings` are compared and never looked into: where they change, what was known of the target
    and of its provider's credential is void.
    """

    provider: str
    pools: frozenset[Pool] = frozenset()
    settings: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """
    What is known of one target.

    `retry_in` is seconds until it may be tried freely or as a probe, 0 if now. `reason` is the code
    of what disabled its provider's credential, or nothing. `share` is the part of its requests that
    it gets while it is starting slowly.
    """

    state: State
    retry_in: float
    consecutive_failures: int
    reason: str = ""
    share: float = 1.0

    @property
    def up(self) -> bool:
        """Whether it takes requests freely."""
        return self.state == "up"
