"""
How many requests a provider holds at once, and what becomes of those beyond.

Part of each provider's settings, because it is the provider's own: its engines, or its contract.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .duration import Duration


class QueueSettings(BaseModel):
    """Where requests wait for a slot when all are taken; nowhere by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Requests that may wait when all slots are taken. Tenants take turns. 0: none "
        "waits, and the next target is tried at once.",
    )
    wait: Duration = Field(default=10.0, description="How long one may wait at most.")


class AdaptiveSettings(BaseModel):
    """A limit that finds itself: it grows while all goes well, and shrinks under overload."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int = Field(default=1, gt=0, description="It never shrinks below this.")
    max: int = Field(
        default=1000, gt=0, description="It never grows beyond this, nor `max_concurrency`."
    )
    start: int = Field(default=16, gt=0, description="What it begins with.")
    tolerance: float = Field(
        default=3.0,
        gt=1,
        description="It shrinks when the time to the first content, on average, has grown by this "
        "factor over the least of the last ten minutes.",
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError("`min` must not be above `max`")
        return self
