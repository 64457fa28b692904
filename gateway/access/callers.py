"""
Key -> caller, and what a caller may use.

A key is looked up by its public id and verified by its digest, in constant time; an unknown id
is compared with a dummy, so that neither the answer nor its timing says which keys exist. Where
keys are kept is behind `KeySource`; a source is asked only about keys whose checksum is right.

Hot: `Access.caller` runs once a request; with configured keys it never waits.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Protocol

from ..contract.errors import InvalidKey
from .headers import credential
from .key import Key, Pepper
from .settings import ALL_MODELS, KeySettings, TenantSettings


@dataclass(frozen=True, slots=True)
class Caller:
    """
    A tenant and the key it used.

    `plan` is the tenant's, `key_plan` the key's own beside it. `models` holds public names, or
    `ALL_MODELS`.
    """

    tenant: str
    key_id: str
    key_name: str
    plan: str
    key_plan: str | None
    models: frozenset[str]

    def may_use(self, model: str) -> bool:
        """Whether the caller may ask for a model of this public name."""
        return model in self.models or ALL_MODELS in self.models


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a source knows of a key: how to verify it, and whom it stands for."""

    digest: bytes = field(repr=False)
    caller: Caller
    expires: datetime | None = None
    disabled: bool = False

    def is_valid(self, now: Callable[[], datetime]) -> bool:
        """Whether the key works at the moment."""
        return not self.disabled and (self.expires is None or now() < self.expires)


class KeySource(Protocol):
    """Where keys are kept. `find` is called once a request, so it answers from memory."""

    async def find(self, public_id: str) -> StoredKey | None:
        """The key of that public id, None if there is none."""
        ...


class ConfiguredKeys:
    """The keys of the configuration file, by public id. Immutable."""

    def __init__(self, tenants: Mapping[str, TenantSettings], pepper: bytes) -> None:
        """
        Raises:
            ValueError: two keys have one public id.
        """
        self._keys: dict[str, StoredKey] = {}
        for tenant, settings in tenants.items():
            for key in settings.keys:
                if (verified := key.verifier(pepper)) is None:
                    continue
                public_id, digest = verified
                if public_id in self._keys:
                    raise ValueError(f"two keys have the public id {public_id}")
                caller = _caller(tenant, settings, key, public_id)
                self._keys[public_id] = StoredKey(digest, caller, key.expires, key.disabled)

    def __len__(self) -> int:
        return len(self._keys)

    async def find(self, public_id: str) -> StoredKey | None:
        """The key of that public id, None if there is none."""
        return self._keys.get(public_id)


def _caller(tenant: str, settings: TenantSettings, key: KeySettings, public_id: str) -> Caller:
    return Caller(
        tenant=tenant,
        key_id=public_id,
        key_name=key.name,
        plan=settings.plan,
        key_plan=key.plan,
        models=settings.models_of(key),
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


_NOBODY = StoredKey(
    digest=bytes(32), caller=Caller("", "", "", "", None, frozenset()), disabled=True
)


class Access:
    """Tells callers by their credential."""

    def __init__(
        self, source: KeySource, pepper: bytes, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._source = source
        self._pepper = Pepper(pepper)
        self._now = now

    async def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """
        The caller whose key is in the raw ASGI headers.

        Raises:
            InvalidKey: no key, or one that is malformed, unknown, expired or disabled.
            InvalidRequest: more than one credential.
        """
        text = credential(headers)
        key = Key.parse(text) if text is not None else None
        if key is None:
            raise InvalidKey
        stored = await self._source.find(key.public_id) or _NOBODY
        if not compare_digest(key.digest(self._pepper), stored.digest):
            raise InvalidKey
        if not stored.is_valid(self._now):
            raise InvalidKey
        return stored.caller
