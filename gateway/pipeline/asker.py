"""
Who asks: what a request has whichever model answers it, and for how long an answer is of use.

Hot: made once a request.
"""

from dataclasses import dataclass
from math import inf

from ..telemetry.record import Record
from .interrupt import Interrupt
from .pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Hints:
    """
    What a client says of itself: `patience` is seconds of silence after which it leaves,
    `repeats` how often it has sent this request before.
    """

    patience: float = inf
    repeats: int = 0


class Asker:
    """
    One request's. Made when the first target is about to be asked; `total` is the seconds that all
    of it may take from then on. Instants are those of `now`, the clock of the request's loop.
    """

    __slots__ = ("ends_at", "hints", "interrupt", "leaves_at", "now", "pipeline", "record")

    def __init__(
        self, pipeline: Pipeline, record: Record, interrupt: Interrupt, hints: Hints, total: float
    ) -> None:
        self.pipeline = pipeline
        self.record = record
        self.interrupt = interrupt
        self.hints = hints
        self.now = pipeline.loop.time
        began = self.now()
        self.ends_at = began + total
        self.leaves_at = began + hints.patience
        """The instant at which its client leaves, unless it has been sent something."""

    @property
    def content_by(self) -> float:
        """The instant until which any content helps the client."""
        return min(self.ends_at, self.leaves_at)

    @property
    def is_late(self) -> bool:
        """Whether an answer would help its client no more."""
        return self.now() >= self.content_by
