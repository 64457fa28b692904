"""When a request that kills backends is refused: `quarantine:` in the file."""

from pydantic import BaseModel, ConfigDict, Field

from ..contract.duration import Duration


class QuarantineSettings(BaseModel):
    """Of requests whose attempts end with their upstream's connection, before any answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="Whether such requests are remembered.")
    backends: int = Field(
        default=2,
        gt=0,
        le=100,
        description="A request that has killed so many different providers is refused with 422.",
    )
    window: Duration = Field(default=600.0, description="Time in which a kill counts.")
