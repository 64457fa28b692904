"""
Key -> caller, and what a caller may use.

A key is looked up by its public id and verified by its digest, in constant time; an unknown id
is compared with a dummy, so that neither the answer nor its timing says which keys exist. Only
who has shown a key's secret hears anything but one constant refusal.

Where keys are kept is behind `KeySource`; a source is asked only about keys whose checksum is
right, and not for an address from which too many of those were wrong.

Hot: `Access.caller` runs once a request; with a key that is in memory it never waits, and what a
key that was verified before comes to is remembered (proven.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Protocol

from ..contract.errors import GatewayError, InvalidKey, PermissionDenied, TooManyFailures
from ..contract.head import Head
from .failures import Failures
from .headers import credential
from .key import Key
from .networks import Network, is_within
from .pepper import Pepper, Peppers
from .proven import Proven
from .settings import ALL_MODELS, SCOPES, Scope


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
    scopes: frozenset[str] = frozenset(SCOPES)
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
    """
    What a source knows of a key: how to verify it, and whom it stands for.

    `pepper` names the one that `digest` is under, where the source can put another in its place.
    """

    digest: bytes = field(repr=False)
    caller: Caller
    expires: datetime | None = None
    disabled: bool = False
    suspended: bool = False
    pepper: str | None = None

    def is_valid(self, now: Callable[[], datetime]) -> bool:
        """Whether the key works at the moment."""
        return not self.disabled and (self.expires is None or now() < self.expires)


NOBODY = StoredKey(bytes(32), Caller("", "", "", "", None, frozenset()), disabled=True)
"""What a key is compared with that does not exist: no key has this digest."""


class KeySource(Protocol):
    """Where keys are kept."""

    def known(self, public_id: str) -> StoredKey | None:
        """
        The key of that public id if it is in memory, `NOBODY` if it is known that there is none.
        None to be asked by `find`. Asked on every request.
        """
        ...

    async def find(self, public_id: str) -> StoredKey | None:
        """
        The key of that public id, None if there is none.

        Raises:
            StoreUnavailable: nobody knows.
        """
        ...

    def used(self, stored: StoredKey, key: Key | None) -> None:
        """
        Hear that a key was verified, and let nobody wait for what follows from it. None instead
        of a key that is kept under the current pepper already.
        """
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Access:
    """Tells callers by their credential. `failures` bounds what unknown keys may cost."""

    def __init__(
        self,
        source: KeySource,
        peppers: Peppers,
        *,
        failures: Failures | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._source = source
        self._peppers = peppers.all
        self._failures = Failures() if failures is None else failures
        self._now = now
        self._proven = Proven()

    async def caller(
        self,
        head: Head,
        client: str | None = None,
        scope: Scope = "inference",
    ) -> Caller:
        """
        The caller whose key a request carries. `client` is the address that it came from.

        Raises:
            InvalidKey: no key, or one that is malformed, unknown, expired or disabled.
            InvalidRequest: more than one credential.
            PermissionDenied: the key is suspended, not for this, or not from there.
            StoreUnavailable: nobody knows whether there is such a key.
            TooManyFailures: the key is not in memory, and looked up no more for this address.
        """
        text = credential(head)
        if text is None:
            raise InvalidKey
        key, proof = None, self._proven.get(text)
        stored = None if proof is None else self._source.known(proof[0])
        if proof is None or stored is None or not compare_digest(proof[1], stored.digest):
            stored, key = await self._verified(text, client)
        if not stored.is_valid(self._now):
            raise InvalidKey
        self._source.used(stored, key)
        caller = stored.caller
        if stored.suspended or caller.networks or scope not in caller.scopes:
            _permit(stored, client, scope)
        return caller

    async def _verified(self, text: str, client: str | None) -> tuple[StoredKey, Key | None]:
        """The key of a text; the text's own too, unless it was under the current pepper."""
        key = Key.parse(text)
        if key is None:
            raise InvalidKey
        stored = self._source.known(key.public_id)
        if stored is None:
            stored = await self._look_up(key.public_id, client)
        pepper = self._verifying(key, stored)
        if pepper is None:
            raise self._refusal(client)
        if pepper is not self._peppers[0]:
            return stored, key
        self._proven.put(text, (key.public_id, stored.digest))
        return stored, None

    async def _look_up(self, public_id: str, client: str | None) -> StoredKey:
        if self._failures.wait(client):
            return NOBODY
        return await self._source.find(public_id) or NOBODY

    def _verifying(self, key: Key, stored: StoredKey) -> Pepper | None:
        """As much work for every key that does not verify, whether it is known or not."""
        for pepper in self._peppers:
            if compare_digest(key.digest(pepper), stored.digest):
                return pepper
        return None

    def _refusal(self, client: str | None) -> GatewayError:
        """The answer to a key that did not verify, which never says why."""
        wait = self._failures.wait(client)
        if wait:
            return TooManyFailures(retry_after=wait)
        self._failures.count(client)
        return InvalidKey()


def _permit(stored: StoredKey, client: str | None, scope: Scope) -> None:
    """Say honestly, to the holder of a key, what it may not do."""
    if stored.suspended:
        raise PermissionDenied("This account is suspended.", code="tenant_suspended")
    caller = stored.caller
    if caller.networks and not is_within(client, caller.networks):
        raise PermissionDenied(
            "This API key may not be used from your address.", code="network_not_allowed"
        )
    if scope not in caller.scopes:
        raise PermissionDenied(
            f"This API key does not have the scope {scope}.", code="insufficient_scope"
        )
