"""What the HTTP edge accepts and shows: `http:` and `ops:` in the configuration file."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..access import NetworkText
from ..contract.duration import Duration


class CorsSettings(BaseModel):
    """Which web pages may call the data plane from a browser. None by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origins: tuple[str, ...] = Field(
        default=(), description="Origins such as https://app.example.com; `*` for any."
    )
    max_age: int = Field(default=600, ge=0, description="Seconds that a browser may remember it.")


class HttpSettings(BaseModel):
    """Bounds of what comes in, and how long a shutdown waits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body: int = Field(
        default=10 * 1024 * 1024, gt=0, description="Bytes of a request's body; more is a 413."
    )
    head_timeout: Duration = Field(
        default=10.0, description="Time for a request's line and headers, from their first byte."
    )
    body_timeout: Duration = Field(
        default=30.0, description="Time between two pieces of a request's body."
    )
    write_timeout: Duration = Field(
        default=60.0,
        description="Time after which a client that is behind with its answer, and takes it more "
        "slowly than `min_body_rate`, is cut.",
    )
    min_body_rate: int = Field(
        default=1024,
        ge=0,
        description="Bytes a second that a request's body must come at after its first 10 s; "
        "0 for any.",
    )
    drain_delay: Literal[0] | Duration | None = Field(
        default=None,
        description="On SIGTERM: time that new requests are still taken after the gateway has "
        "said that it is not ready, so that a load balancer can notice. "
        "Default: 5 s in production, none in development.",
    )
    drain_timeout: Duration = Field(
        default=600.0,
        description="On SIGTERM: time that requests on their way may take to finish.",
    )
    cors: CorsSettings = Field(default=CorsSettings())
    trusted_proxies: tuple[NetworkText, ...] = Field(
        default=(),
        description="Networks of proxies in front, such as 10.0.0.0/8: where a request comes "
        "from is what they say in `X-Forwarded-For`. Default: none, it is the peer.",
    )


class OpsSettings(BaseModel):
    """Who may see how the gateway is doing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    public: bool = Field(
        default=False,
        description="Show /metrics and /health/ without the operator's credential.",
    )
    docs: bool | None = Field(
        default=None, description="Serve /docs. Default: in development only."
    )
