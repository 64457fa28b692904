"""
The keys of the configuration file, and how they stand before those of the database.

Hot: `FileFirst.known` and `used` run once a request.
"""

from collections.abc import Mapping

from .callers import NOBODY, Caller, KeySource, StoredKey
from .key import Key
from .networks import networks_of
from .settings import KeySettings, TenantSettings


class ConfiguredKeys:
    """By public id, and always in memory. Immutable."""

    def __init__(self, tenants: Mapping[str, TenantSettings], pepper: bytes) -> None:
        """
        `pepper` is the one under which keys that are written whole are kept.

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

    def ended_in(self, later: "ConfiguredKeys") -> frozenset[str]:
        """Public ids that worked here and, in a later file, do not: gone, disabled or replaced."""
        return frozenset(
            public_id
            for public_id, key in self._keys.items()
            if not key.disabled and _ended(key, later.get(public_id))
        )

    def get(self, public_id: str) -> StoredKey | None:
        """The key of that public id, None if the file has none."""
        return self._keys.get(public_id)

    def known(self, public_id: str) -> StoredKey:
        """The key of that public id, else nobody's: there is nowhere else to look."""
        return self._keys.get(public_id, NOBODY)

    async def find(self, public_id: str) -> StoredKey | None:
        """The same."""
        return self._keys.get(public_id)

    def used(self, stored: StoredKey, key: Key | None) -> None:
        """Nothing of a configured key is kept."""


class FileFirst:
    """
    The keys of one configuration file, and behind them those of another source, which outlives
    it. Immutable, so that a request is told by the file that it began with.
    """

    def __init__(self, configured: ConfiguredKeys, others: KeySource) -> None:
        self._get = configured.get
        self._others = others

    def known(self, public_id: str) -> StoredKey | None:
        """The key of that public id if it is in memory."""
        stored = self._get(public_id)
        return self._others.known(public_id) if stored is None else stored

    async def find(self, public_id: str) -> StoredKey | None:
        """
        The key of that public id, None if there is none.

        Raises:
            StoreUnavailable: nobody knows.
        """
        stored = self._get(public_id)
        return await self._others.find(public_id) if stored is None else stored

    def used(self, stored: StoredKey, key: Key | None) -> None:
        """Hear that a key was verified; the other source tells which of them are its own."""
        self._others.used(stored, key)


def _ended(key: StoredKey, later: StoredKey | None) -> bool:
    if later is None or later.disabled:
        return True
    return (later.digest, later.caller.tenant) != (key.digest, key.caller.tenant)


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
