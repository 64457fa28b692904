"""How a provider is asked how it is, where it is asked at all."""

from pydantic import BaseModel, ConfigDict, Field

from .duration import Duration


class ProbeSettings(BaseModel):
    """One entry's `probe:`; `{}` takes the defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str | None = Field(
        default=None,
        pattern=r"^/[!-~]*$",
        description="Of a GET that any 2xx answers if all is well, after the server's root. "
        "Default: what the kind offers, `/health` of a vLLM say.",
    )
    every: Duration = Field(
        default=10.0, description="While all is well; soon after a failure, up to 30 s when down."
    )
    timeout: Duration = Field(default=2.0, description="A later answer is a failure.")
