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

from ..contract.errors import InvalidKey, PermissionDenied
from .headers import credential
from .key import Key
from .networks import Network, is_within, networks_of
from .pepper import Peppers
from .settings import ALL_MODELS, SCOPES, KeySettings, Scope, TenantSettings


@dataclass(frozen=True, slots=True)
class Caller:
    """
    A tenant and the key it used.

    `plan` is the tenant's, `project_plan` and `key_plan` are the project's and the key's own
    beside it; `levels` holds them all, each with the scope under which its limits are kept.
    `models` holds public names, or `ALL_MODELS`. `networks` is empty where any will do.
    """

    tenant: str
    key_id: str
    key_name: str
    plan: str
    key_plan: str | None
    models: frozenset[str]
    project: str | None = None
    project_plan: str | None = None
    scopes: frozenset[Scope] = frozenset(SCOPES)
    networks: tuple[Network, ...] = ()
    levels: tuple[tuple[str, str], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        levels = (
            (f"tenant:{self.tenant}", self.plan),
            (f"project:{self.project}", self.project_plan),
            (f"key:{self.key_id}", self.key_plan),
        )
        with_plan = tuple((scope, plan) for scope, plan in levels if plan is not None)
        object.__setattr__(self, "levels", with_plan)

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
        scopes=frozenset(key.scopes),
        networks=networks_of(key.networks),
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


_NOBODY = StoredKey(
    digest=bytes(32), caller=Caller("", "", "", "", None, frozenset()), disabled=True
)


class Access:
    """Tells callers by their credential."""

    def __init__(
        self, source: KeySource, peppers: Peppers, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._source = source
        self._peppers = peppers
        self._now = now

    async def caller(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        client: str | None = None,
        scope: Scope = "inference",
    ) -> Caller:
        """
        The caller whose key is in the raw ASGI headers. `client` is the address that it came from.

        Raises:
            InvalidKey: no key, or one that is malformed, unknown, expired or disabled.
            InvalidRequest: more than one credential.
            PermissionDenied: the key is not for this, or not from there.
        """
        text = credential(headers)
        key = Key.parse(text) if text is not None else None
        if key is None:
            raise InvalidKey
        stored = await self._source.find(key.public_id) or _NOBODY
        if not any(compare_digest(key.digest(each), stored.digest) for each in self._peppers.all):
            raise InvalidKey
        if not stored.is_valid(self._now):
            raise InvalidKey
        caller = stored.caller
        if caller.networks and not is_within(client, caller.networks):
            raise PermissionDenied(
                "This API key may not be used from your address.", code="network_not_allowed"
            )
        if scope not in caller.scopes:
            raise PermissionDenied(
                f"This API key does not have the scope {scope}.", code="insufficient_scope"
            )
        return caller
