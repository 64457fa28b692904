"""
How long an upstream may take: what a model or a provider is given, and what comes of both.

What a model says wins over what its provider says, so that a slow model can have its own patience
on a provider that is quick otherwise.
"""

from dataclasses import dataclass
from math import inf

from pydantic import BaseModel, ConfigDict, Field

from .duration import Duration

FIRST_CONTENT_STREAMED = 60.0
"""Seconds until the first content of a stream, where nothing else is said."""
FIRST_CONTENT_WHOLE = 600.0
"""Seconds until a whole answer, where nothing else is said."""
STALL = 30.0
"""Seconds between two reads of a stream, where nothing else is said."""
TOTAL = 600.0
"""Seconds of a whole request, where its model says nothing else."""


class TimeoutSettings(BaseModel):
    """Time-outs, in seconds or as `500ms`, `30s`, `2m`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: Duration | None = Field(
        default=None, description="Until a connection stands. Default: `upstream.connect_timeout`."
    )
    first_content: Duration | None = Field(
        default=None,
        description="Until the first content. Default: 60 s streamed, 600 s whole.",
    )
    stall: Duration | None = Field(
        default=None, description="Between two reads of a stream. Default: 30 s."
    )
    total: Duration | None = Field(
        default=None,
        description="Of a model: the whole request, all attempts; default 600 s. Of a provider: "
        "one attempt.",
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """
    What holds for the attempts at one target, in seconds. `connect` is None where the settings of
    all connections hold, `attempt` infinite where its provider does not bound an attempt.
    """

    connect: float | None
    first_content: float
    stall: float
    attempt: float


def timeouts_of(model: TimeoutSettings, provider: TimeoutSettings, *, stream: bool) -> Timeouts:
    """What a model and a provider say together, for streams or for whole answers."""
    usual = FIRST_CONTENT_STREAMED if stream else FIRST_CONTENT_WHOLE
    return Timeouts(
        connect=model.connect or provider.connect,
        first_content=model.first_content or provider.first_content or usual,
        stall=model.stall or provider.stall or STALL,
        attempt=provider.total or inf,
    )
