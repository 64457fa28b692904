"""
Process settings from the environment, prefix `LOCKGATE_`.

What belongs to a deployment rather than to its routes: addresses, stores, secrets. Secrets are
`SecretStr`, so that neither a repr nor a validation error shows one. In `production` whatever is
unsafe is refused here, before a socket opens.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_PORT = 65535
MAX_WORKERS = 256
MIN_SECRET = 16
"""Characters of the shortest secret that production accepts."""

SHORTEST = {"key_pepper": MIN_SECRET, "admin_token": MIN_SECRET, "jwt_secret": 32}
"""What production asks for, in characters. Tokens are signed with SHA-256, as long as its key."""

DATABASES = ("sqlite:///", "postgresql://", "postgres://")
"""How the address of a database may begin."""


class StartRefused(Exception):
    """
    A command can't do what it was asked to, told in one line for each reason.

    `exit_code` is 2 where usage or configuration is wrong, 1 where the machine is.
    """

    exit_code = 2


class Settings(BaseSettings):
    """`LOCKGATE_CONFIG`, `LOCKGATE_PORT` and so on; see the configuration reference."""

    model_config = SettingsConfigDict(
        env_prefix="LOCKGATE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    config: Path = Field(default=Path("config/gateway.yaml"), description="The configuration file.")
    host: str = Field(default="127.0.0.1", description="Where the data plane listens.")
    port: int = Field(default=8080, ge=0, le=65535, description="0 takes a free port.")
    admin_listen: str = Field(
        default="",
        description="`host:port` of metrics and administration. Default: the data port in "
        "development, 127.0.0.1:8081 in production.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=MAX_WORKERS,
        description="Processes that serve together. More than one need Redis, and in production "
        "a PostgreSQL.",
    )
    insist: bool = Field(
        default=False,
        description="Start several workers without Redis, in development: each of them then "
        "counts limits for itself.",
    )
    environment: Literal["development", "production"] = Field(
        default="development",
        description="`production` refuses to start with what is unsafe, keeps metrics and health "
        "details on a listener of their own and serves no /docs.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Where tenants, keys, the ledger and the audit log are kept: "
        "`postgresql://user:password@host/name`, which replicas share, or `sqlite:///path`, which "
        "is of one process. Default: `lockgate.db` in `state_dir`.",
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Where limits are kept. Default: in this process."
    )
    admin_token: SecretStr = Field(
        default=SecretStr(""),
        description="Whoever sends it as a bearer token is an owner of everything, and makes the "
        "first operators. Required in production, with at least 16 characters.",
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""),
        description="Opens /metrics and /health/ and nothing else, for whatever scrapes them; "
        "`LOCKGATE_ADMIN_TOKEN` opens them, too.",
    )
    key_pepper: SecretStr = Field(
        default=SecretStr(""),
        description="Keys are stored as HMACs under it. Made on first start in development and "
        "kept in `state_dir`; required in production.",
    )
    key_pepper_previous: SecretStr = Field(
        default=SecretStr(""),
        description="Older peppers, separated by commas: keys that are stored under them stay "
        "valid.",
    )
    jwt_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Operators' tokens are signed with it. Default in development: another one at "
        "each start; required in production, with at least 32 characters.",
    )
    state_dir: Path = Field(
        default=Path(".lockgate"),
        description="What is kept between starts where nothing else is named for it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="From which level on lines are written; requests are `info`."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )

    @field_validator("admin_listen")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        is_port = port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT
        if value and not (host and is_port):
            raise ValueError("must be host:port")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if not value.get_secret_value().startswith(DATABASES):
            raise ValueError(f"must begin with one of {', '.join(DATABASES)}")
        return value

    @model_validator(mode="after")
    def _shares_what_workers_share(self) -> "Settings":
        if self.workers == 1:
            return self
        if self.environment == "production" and self.store_url.startswith("sqlite"):
            raise ValueError(
                "LOCKGATE_WORKERS above 1 needs a PostgreSQL in production: LOCKGATE_DATABASE_URL"
            )
        is_shared = self.redis_url is not None and bool(self.redis_url.get_secret_value())
        if not is_shared and (self.environment == "production" or not self.insist):
            raise ValueError(
                "LOCKGATE_WORKERS above 1 needs LOCKGATE_REDIS_URL, where workers count limits "
                "together"
            )
        return self

    @model_validator(mode="after")
    def _is_safe_in_production(self) -> "Settings":
        if self.environment != "production":
            return self
        for name, least in SHORTEST.items():
            if len(getattr(self, name).get_secret_value()) < least:
                raise ValueError(
                    f"LOCKGATE_{name.upper()} needs at least {least} characters in production"
                )
        if 0 < len(self.metrics_token.get_secret_value()) < MIN_SECRET:
            raise ValueError(
                f"LOCKGATE_METRICS_TOKEN needs at least {MIN_SECRET} characters in production"
            )
        if any(len(pepper) < MIN_SECRET for pepper in self.older_peppers):
            raise ValueError(
                f"each of LOCKGATE_KEY_PEPPER_PREVIOUS needs at least {MIN_SECRET} characters in "
                "production"
            )
        if self.log_level == "debug":
            raise ValueError("LOCKGATE_LOG_LEVEL=debug is refused in production")
        return self

    @property
    def store_url(self) -> str:
        """The database's address, which may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.state_dir / 'lockgate.db'}"

    @property
    def older_peppers(self) -> tuple[bytes, ...]:
        """Peppers that keys may still be stored under."""
        written = self.key_pepper_previous.get_secret_value().split(",")
        return tuple(pepper.strip().encode() for pepper in written if pepper.strip())

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """The administration's own listener, None where it shares the data port."""
        listen = self.admin_listen
        if not listen:
            if self.environment == "development":
                return None
            listen = "127.0.0.1:8081"
        host, _, port = listen.rpartition(":")
        return host.strip("[]"), int(port)
