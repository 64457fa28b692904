"""When a target is left alone and for how long, and how many retries it may be sent."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..contract.duration import Duration


class HealthSettings(BaseModel):
    """When a target is left alone, and for how long: seconds, or `500ms`, `10s`, `2m`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    consecutive_failures: int = Field(
        default=5, gt=0, description="So many failures in a row, of requests or probes, eject it."
    )
    failure_rate: float = Field(
        default=0.5, gt=0, le=1, description="So large a share of the last `window` does so too."
    )
    window: int = Field(default=20, gt=0, le=1000, description="Requests.")
    max_ejected: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Of the targets of one model, so large a share may be refused at once, and "
        "one in any case. Others that fail are still asked when no better one is left.",
    )
    cool_down: Duration = Field(
        default=10.0, description="Doubled each time a probe fails; up to a fifth shorter."
    )
    max_cool_down: Duration = Field(default=300.0, description="The longest that it grows to.")
    relapse: Duration = Field(
        default=60.0,
        description="A target that fails again within it of its return is left alone for twice "
        "as long as the last time; after it, for `cool_down` again.",
    )
    ramp: Literal[0] | Duration = Field(
        default=30.0,
        description="From a tenth of its requests to all of them, after a target's return. 0: all "
        "at once.",
    )
    max_retry_after: Duration = Field(
        default=60.0, description="An upstream's Retry-After is obeyed for so long at most."
    )
    credential_cool_down: Duration = Field(
        default=60.0, description="After an upstream refused the credential: all of its targets."
    )
    quota_cool_down: Duration = Field(
        default=300.0,
        description="After the operator's account was found empty: all of its targets.",
    )
    probe_timeout: Duration = Field(
        default=60.0, description="A probe without a result is forgotten after it."
    )
    retry_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Retries that a target may be sent, as a share of its first attempts.",
    )
    retries_per_second: float = Field(
        default=3.0,
        ge=0,
        le=100_000,
        description="Retries that it may be sent beside them, saved up for 10 s at most.",
    )
