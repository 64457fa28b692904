"""
Tenants and their keys, as the configuration file states them.

A key is written whole (`key`, from the environment) or in its stored form (`key_hash`). One that
is written but empty does not exist: `key: "${CI_KEY:-}"` is a key only where CI_KEY is set.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from .failures import rate_of
from .key import Key, read_stored
from .networks import networks_of
from .pepper import Pepper

ALL_MODELS = "*"
"""In a list of models: every one that is configured."""

Scope = Literal["inference", "usage:read"]
"""What a key may be for. Administration is never by key."""

SCOPES: tuple[Scope, ...] = ("inference", "usage:read")
"""What a key is for unless it says otherwise: everything that a key can be for."""


def _is_a_network(text: str) -> str:
    try:
        networks_of((text,))
    except ValueError as error:
        raise ValueError(f"is not a network such as 10.0.0.0/8: {error}") from None
    return text


NetworkText = Annotated[str, AfterValidator(_is_a_network)]
"""A network in CIDR notation, or a single address."""

TenantId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
"""A tenant's name, as limits and records are kept under it."""


class KeySettings(BaseModel):
    """One entry under `tenants.<id>.keys`: exactly one of `key` and `key_hash`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,64}$", description="How records speak of the key."
    )
    key: SecretStr | None = Field(
        default=None, description="The whole key, from the environment; empty: no such key."
    )
    key_hash: str | None = Field(
        default=None,
        description="The stored form that `lockgate keys generate` prints, `<public id>:<64 hex>`; "
        "empty: no such key.",
    )
    models: tuple[str, ...] | None = Field(
        default=None, description="Public names among the tenant's. Default: all of the tenant's."
    )
    plan: str | None = Field(
        default=None, description="Limits of this key alone, beside the tenant's."
    )
    expires: AwareDatetime | None = Field(
        default=None, description="When the key stops working, with its offset from UTC."
    )
    disabled: bool = Field(default=False, description="True refuses the key.")
    scopes: tuple[Scope, ...] = Field(
        default=SCOPES,
        min_length=1,
        description="What the key is for: `inference` and `usage:read`. Default: both.",
    )
    networks: tuple[NetworkText, ...] = Field(
        default=(),
        description="Networks that the key works from, such as 10.0.0.0/8. Default: any.",
    )

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value and Key.parse(value.get_secret_value()) is None:
            raise ValueError(
                "is not a Lockgate key: malformed or mistyped; `lockgate keys generate` makes one"
            )
        return value

    @field_validator("key_hash")
    @classmethod
    def _is_a_stored_form(cls, value: str | None) -> str | None:
        if value and read_stored(value) is None:
            raise ValueError("is not the stored form of a key: <public id>:<64 hex digits>")
        return value

    @model_validator(mode="after")
    def _is_written_once(self) -> "KeySettings":
        if (self.key is None) == (self.key_hash is None):
            raise ValueError("needs exactly one of key and key_hash")
        return self

    @property
    def public_id(self) -> str | None:
        """The key's public id, None for a key that is empty."""
        verifier = self.verifier(b"")
        return verifier[0] if verifier else None

    def verifier(self, pepper: bytes) -> tuple[str, bytes] | None:
        """Public id and digest, None for a key that is empty."""
        if self.key_hash:
            return read_stored(self.key_hash)
        key = Key.parse(self.key.get_secret_value()) if self.key else None
        return (key.public_id, key.digest(Pepper(pepper))) if key else None


class TenantSettings(BaseModel):
    """One entry under `tenants:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    plan: str = Field(default="default", description="The name of the plan that limits it.")
    models: tuple[str, ...] = Field(
        default=(), description="Public names that it may use; `*` is all. Default: none."
    )
    keys: tuple[KeySettings, ...] = Field(default=())

    def models_of(self, key: KeySettings) -> frozenset[str]:
        """What a key of this tenant may use: its own list, within the tenant's."""
        return narrowed(frozenset(self.models), key.models)


def narrowed(models: frozenset[str], own: Iterable[str] | None) -> frozenset[str]:
    """What a list allows within the models of the level above; None is no list."""
    mine = models if own is None else frozenset(own)
    if ALL_MODELS in mine:
        return models
    return mine if ALL_MODELS in models else mine & models


def _is_a_rate(text: str) -> str:
    rate_of(text)
    return text


class AccessSettings(BaseModel):
    """What becomes of keys that are not known, and of those that are no longer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failures: Annotated[str, AfterValidator(_is_a_rate)] = Field(
        default="60/minute",
        description="Unknown keys that an address may try; beyond it, keys that are not in memory "
        "are answered 429 without looking them up.",
    )
    on_revoke: Literal["cut", "finish"] = Field(
        default="cut",
        description="What becomes of the requests that run by a key which is disabled or removed, "
        "or whose project or tenant is suspended or removed.",
    )
