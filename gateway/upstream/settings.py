"""What an operator may say about connections to upstreams."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

TransportName = Literal["own", "aiohttp", "httpx"]

_PACKAGES: dict[TransportName, str] = {"aiohttp": "aiohttp", "httpx": "httpcore2"}
"""What a transport is made of that an installation may lack; its extra has the transport's name."""


class UpstreamSettings(BaseModel):
    """How connections to upstreams are made and kept."""

    # A proxy's address may hold a password.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    transport: TransportName = Field(
        default="own",
        description="What speaks HTTP: `own` is the gateway's engine; `aiohttp` and `httpx` cost "
        "several times as much and go through a `proxy`, `httpx` speaks HTTP/2 too. Each needs the "
        "extra of its name: `pip install 'lockgate[aiohttp]'`. Read at start.",
    )
    proxy: SecretStr | None = Field(
        default=None,
        description="`http://host:port`, with `user:password@` if need be: `public` providers are "
        "reached through it, `private` ones directly. It resolves their names, so that it is the "
        "proxy's to keep private addresses out of reach. The environment's proxies are never used.",
    )
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
        default=300.0,
        gt=0,
        description="Seconds after which a connection is not used again, by the `own` engine.",
    )
    max_connections: int = Field(
        default=1000, gt=0, description="Connections open at once to one scheme, host and port."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificate authorities to trust beside the public ones.",
    )

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme != "http" or not parts.hostname or not parts.port:
                raise ValueError("must be http://host:port")
            if parts.path.strip("/") or parts.query or parts.fragment:
                raise ValueError("must end after its port")
        return value

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        package = _PACKAGES.get(self.transport)
        if package is not None and find_spec(package) is None:
            extra = f"lockgate[{self.transport}]"
            raise ValueError(f"`transport: {self.transport}` needs `pip install '{extra}'`")
        if self.proxy is not None and self.transport == "own":
            raise ValueError("`proxy` needs `transport: aiohttp` or `transport: httpx`")
        return self
