"""What a limiter has seen since its start, for metrics."""

from dataclasses import dataclass

from .model import Measure


@dataclass(slots=True)
class Counts:
    """One number for each thing that can become of a reservation."""

    admitted: int = 0
    refused_requests: int = 0
    refused_tokens: int = 0
    refused_concurrency: int = 0
    refused_money: int = 0
    too_large: int = 0
    lowered: int = 0
    """Admitted with a lower cap than was asked for."""
    unavailable: int = 0
    """Refused because the store was out of reach."""
    allowed_unseen: int = 0
    """Admitted without a check because the store was out of reach."""
    held_locally: int = 0
    """Admitted by this process's own share because the store was out of reach."""
    overshoot_tokens: int = 0
    """Used beyond what had been reserved."""
    overshoot_cost: int = 0
    """Nano-dollars spent beyond what had been reserved."""
    late: int = 0
    """Settled after the lease had ended."""
    lost: int = 0
    """Holders told to stop."""
    overlaps: int = 0
    """Holders that went on after an outage although their place was taken."""
    expired: int = 0
    """Reservations of others whose lease had ended."""
    behind: int = 0
    """Refused because too much waits to be settled or to reach the ledger."""
    unseeded: int = 0
    """Found a counter whose past the ledger could not tell."""
    restored: int = 0
    """Reservations put back after the store had lost its data."""
    store_failures: int = 0
    clock_resets: int = 0

    def refused(self, measure: Measure) -> None:
        """A request was refused by a limit."""
        match measure:
            case "requests":
                self.refused_requests += 1
            case "tokens":
                self.refused_tokens += 1
            case "concurrency":
                self.refused_concurrency += 1
            case "money":
                self.refused_money += 1

    def overshot(self, tokens: int, cost: int) -> None:
        """So much more was used than reserved; less than nothing counts as nothing."""
        if tokens > 0:
            self.overshoot_tokens += tokens
        if cost > 0:
            self.overshoot_cost += cost
