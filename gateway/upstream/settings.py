"""What an operator may say about connections to upstreams."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class UpstreamSettings(BaseModel):
    """How connections to upstreams are made and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect_timeout: float = Field(
        default=5.0, gt=0, description="Seconds for name resolution, TCP and TLS together."
    )
    resolve_timeout: float = Field(
        default=2.0, gt=0, description="Seconds of them for name resolution."
    )
    resolve_stale: float = Field(
        default=300.0,
        ge=0,
        description="Seconds that the last good addresses of a name are used while it can not be "
        "resolved.",
    )
    pool_timeout: float = Field(
        default=5.0, gt=0, description="Seconds to wait for a connection while all are in use."
    )
    idle_timeout: float = Field(
        default=60.0, gt=0, description="Seconds that an unused connection is kept."
    )
    max_age: float = Field(
        default=300.0, gt=0, description="Seconds after which a connection is not used again."
    )
    max_connections: int = Field(
        default=1000, gt=0, description="Connections open at once to one scheme, host and port."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificate authorities to trust beside the public ones.",
    )
