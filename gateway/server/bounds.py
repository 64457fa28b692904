"""How long a connection waits for its client, and how much it takes from one."""

from dataclasses import dataclass
from enum import IntEnum

MAX_AHEAD = 100
"""Requests that wait on a connection while an earlier one is answered."""
MAX_AHEAD_BYTES = 1024 * 1024
"""What may come of them meanwhile."""
FRAMING_OF_A_BYTE = 8
"""Bytes of chunk sizes for one of a body; a head's worth beyond that are trailers and the like."""


class Wait(IntEnum):
    """What a connection waits for, where it is the client's turn."""

    FIRST = 0
    """The first byte of its first request."""
    HEAD = 1
    """The rest of a head."""
    NEXT = 2
    """Another request."""
    REST = 3
    """The rest of a body that nobody reads any more."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    What one connection may take. Times are seconds, the rate is bytes a second.

    A new socket whose number is not below `places` is turned away: the kernel gives out the
    lowest that is free, so its number tells how many of all kinds are in use.
    """

    head_timeout: float = 10.0
    keep_alive: float = 75.0
    linger: float = 30.0
    write_timeout: float = 60.0
    min_rate: float = 1024.0
    places: int = 1 << 31

    @property
    def patience(self) -> tuple[float, float, float, float]:
        """Seconds that are waited for each `Wait`, in their order."""
        return self.head_timeout, self.head_timeout, self.keep_alive, self.linger
