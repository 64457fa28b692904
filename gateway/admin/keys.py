"""
Keys, without their secrets: what is kept of one is a digest, which no answer has a field for.

The secret is made and shown by whoever calls; these operations take only its `Verifier`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..access import SCOPES, KeySettings, Scope
from ..contract.errors import InvalidRequest
from ..store.objects import KEYS, Condition, Row
from ..store.tables import keys
from .administration import Change, View
from .errors import Conflict, NotFound, ReadOnly
from .listing import Listing, Paging, listed
from .plans import check_plan
from .projects import get_project
from .shapes import (
    KEPT,
    Instant,
    Json,
    Kept,
    KeyId,
    ModelNames,
    Name,
    Network,
    Patch,
    ProjectId,
    Request,
)
from .tenants import Tenant, get_tenant, own_tenant
from .versions import ANY, Match, check_version

MAX_OVERLAP = 30 * 24 * 3600
"""Seconds."""

_PLAN = "Limits of this key alone, beside the tenant's and the project's."
_MODELS = "Public names among the project's or the tenant's. Default: all of those."
_EXPIRES = "When the key stops working, with its offset from UTC. Default: never."
_NETWORKS = "Networks that the key works from, such as 10.0.0.0/8. Default: any."

Scopes = Annotated[
    tuple[Scope, ...],
    Field(min_length=1, max_length=len(SCOPES), description="What the key is for. Default: all."),
]
Networks = Annotated[tuple[Network, ...], Field(max_length=100, description=_NETWORKS)]


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is kept of a key's secret: its digest, and the name of the pepper that it is under."""

    public_id: str
    digest: bytes = field(repr=False)
    pepper: str


class NewKey(Request):
    """A key to make. Its name is one of its own among the tenant's keys."""

    example: ClassVar[Json] = {
        "name": "ci",
        "project": "search",
        "scopes": ["inference"],
        "networks": ["10.0.0.0/8"],
        "expires": "2027-01-31T00:00:00Z",
    }

    name: Name
    project: ProjectId | None = None
    plan: Name | None = Field(default=None, description=_PLAN)
    models: ModelNames | None = Field(default=None, description=_MODELS)
    scopes: Scopes = SCOPES
    networks: Networks = ()
    expires: Instant | None = Field(default=None, description=_EXPIRES)
    disabled: bool = False


class KeyPatch(Patch):
    """A change of a key; `null` takes away what may be missing."""

    example: ClassVar[Json] = {"disabled": True}

    project: ProjectId | None = None
    plan: Name | None = Field(default=None, description=_PLAN)
    models: ModelNames | None = Field(default=None, description=_MODELS)
    scopes: Scopes = SCOPES
    networks: Networks = ()
    expires: Instant | None = Field(default=None, description=_EXPIRES)
    disabled: bool = Field(default=False, description="True refuses the key.")


class Rotation(Request):
    """How a key is replaced by another of its name."""

    example: ClassVar[Json] = {"overlap": 3600}

    overlap: int = Field(
        default=24 * 3600,
        ge=0,
        le=MAX_OVERLAP,
        description="Seconds for which the old key still works.",
    )
    expires: Instant | None = Field(
        default=None, description="When the new key stops working. Default: when the old one would."
    )


class ShownKey(Kept):
    """A key, without its secret."""

    example: ClassVar[Json] = {
        "object": "key",
        "id": "8xT2mQ4vLp0Z",
        "tenant": "acme",
        **NewKey.example,
        "disabled": False,
        "last_used": "2026-01-31T12:30:00Z",
        **KEPT,
    }

    object: Literal["key"] = "key"
    id: KeyId
    tenant: str
    project: str | None = None
    name: str
    plan: str | None = None
    models: tuple[str, ...] | None = None
    scopes: tuple[Scope, ...]
    networks: tuple[str, ...] = ()
    expires: datetime | None = None
    disabled: bool = False
    replaced_by: str | None = Field(default=None, description="The key that it was rotated to.")
    last_used: datetime | None = None


async def list_keys(
    view: View,
    tenant: str,
    paging: Paging | None = None,
    *,
    project: str | None = None,
    disabled: bool | None = None,
) -> Listing[ShownKey]:
    """
    A page of the keys of a tenant; all of them where none is asked for.

    Raises:
        NotFound: there is no such tenant that the actor sees.
        InvalidRequest: the place to go on from is none.
    """
    await get_tenant(view, tenant)
    conditions: list[Condition] = [keys.c.tenant == tenant]
    if project is not None:
        conditions.append(keys.c.project == project)
    if disabled is not None:
        conditions.append(keys.c.disabled == disabled)
    written = [
        (each.name, each)
        for each in _written(view, tenant)
        if project is None and disabled in {None, each.disabled}
    ]
    return await listed(view, KEYS, _kept, *conditions, paging=paging, written=written)


async def get_key(view: View, tenant: str, key: str) -> ShownKey:
    """
    Raises:
        NotFound: there is none that the actor sees.
    """
    view.seen(tenant, "key")
    for each in _written(view, tenant):
        if each.id == key:
            return each
    row = await KEYS.find(view.connection, key)
    if row is None or row["tenant"] != tenant:
        raise NotFound("key")
    return _kept(row)


async def create_key(change: Change, tenant: str, new: NewKey, verifier: Verifier) -> ShownKey:
    """
    Raises:
        NotFound, ReadOnly: no key can be made in this tenant.
        Conflict: the name or the public id is taken.
        InvalidRequest: what it refers to does not exist, or it has expired already.
    """
    owner = await own_tenant(change, tenant)
    await _check_free(change, tenant, new.name, verifier)
    await _check_references(change, owner, new, new.project)
    shown = await _add(change, tenant, new, verifier)
    await change.record("create", "key", shown.id, tenant=tenant, after=shown.record())
    return shown


async def update_key(
    change: Change, tenant: str, key: str, patch: KeyPatch, match: Match = ANY
) -> ShownKey:
    """
    Raises:
        NotFound, ReadOnly, VersionMismatch: it can't be changed, or not in this version.
        InvalidRequest: what it refers to does not exist, or it would have expired already.
    """
    before = await _changeable(change, tenant, key, match)
    owner = await own_tenant(change, tenant)
    values = patch.given()
    project = patch.project if "project" in values else before.project
    await _check_references(change, owner, patch, project)
    after = _kept(await KEYS.change(change.connection, (key,), values, change.now))
    await change.record(
        "update", "key", key, tenant=tenant, before=before.record(), after=after.record()
    )
    return after


async def rotate_key(
    change: Change, tenant: str, key: str, rotation: Rotation, verifier: Verifier
) -> ShownKey:
    """
    Make another key with the same name and rights; the old one works for `overlap` seconds more.

    Raises:
        NotFound, ReadOnly: it can't be changed.
        Conflict: it was rotated already.
        InvalidRequest: the new key would have expired already.
    """
    old = await _changeable(change, tenant, key, ANY)
    if old.replaced_by is not None:
        raise Conflict("This key was rotated already.", code="already_rotated")
    expires = old.expires if rotation.expires is None else rotation.expires
    _check_expiry(change, expires)
    end = change.now + timedelta(seconds=rotation.overlap)
    values = {
        "replaced_by": verifier.public_id,
        "expires": end if old.expires is None else min(old.expires, end),
    }
    after = _kept(await KEYS.change(change.connection, (key,), values, change.now))
    same = old.model_dump(include=set(NewKey.model_fields) - {"expires"})
    new = await _add(change, tenant, NewKey(**same, expires=expires), verifier)
    await change.record(
        "rotate", "key", key, tenant=tenant, before=old.record(), after=after.record()
    )
    return new


async def delete_key(change: Change, tenant: str, key: str, match: Match = ANY) -> None:
    """
    Revoke a key: it works nowhere within a second.

    Raises:
        NotFound, ReadOnly, VersionMismatch: it can't be deleted, or not in this version.
    """
    before = await _changeable(change, tenant, key, match)
    await KEYS.remove(change.connection, key)
    await change.record("delete", "key", key, tenant=tenant, before=before.record())


async def _changeable(change: Change, tenant: str, key: str, match: Match) -> ShownKey:
    before = await get_key(change, tenant, key)
    if before.source == "file":
        raise ReadOnly("key")
    check_version(match, before.version)
    return before


async def _add(change: Change, tenant: str, new: NewKey, verifier: Verifier) -> ShownKey:
    values = {
        **new.model_dump(),
        "tenant": tenant,
        "public_id": verifier.public_id,
        "digest": verifier.digest,
        "pepper": verifier.pepper,
    }
    return _kept(await KEYS.add(change.connection, values, change.now))


async def _check_free(change: Change, tenant: str, name: str, verifier: Verifier) -> None:
    same = (keys.c.tenant == tenant, keys.c.name == name, keys.c.replaced_by.is_(None))
    if await KEYS.exists(change.connection, *same):
        raise Conflict("A key of this name exists.", code="already_exists", param="name")
    public_id = verifier.public_id
    in_file = any(
        public_id == key.public_id
        for settings in change.configured.tenants.values()
        for key in settings.keys
    )
    if in_file or await KEYS.find(change.connection, public_id) is not None:
        raise Conflict("This key exists already.", code="already_exists")


async def _check_references(
    change: Change, tenant: Tenant, given: NewKey | KeyPatch, project: str | None
) -> None:
    granted: Sequence[str] = tenant.models
    if project is not None:
        try:
            granted = (await get_project(change, tenant.id, project)).grants(tenant)
        except NotFound:
            raise InvalidRequest(
                f"No project of the tenant is called {project!r}.",
                param="project",
                code="unknown_project",
            ) from None
    if given.plan is not None:
        await check_plan(change, given.plan)
    change.configured.check_models(given.models or (), within=granted)
    _check_expiry(change, given.expires)


def _check_expiry(change: Change, expires: datetime | None) -> None:
    if expires is not None and expires <= change.now:
        raise InvalidRequest("This time is past.", param="expires", code="already_expired")


def _written(view: View, tenant: str) -> list[ShownKey]:
    """The keys that the file gives a tenant, by ascending name."""
    settings = view.configured.tenants.get(tenant)
    found = [] if settings is None else settings.keys
    return sorted(
        (_of_file(tenant, key) for key in found if key.public_id is not None),
        key=lambda each: (each.name, each.id),
    )


def _of_file(tenant: str, key: KeySettings) -> ShownKey:
    return ShownKey(
        id=key.public_id or "",
        tenant=tenant,
        name=key.name,
        plan=key.plan,
        models=key.models,
        scopes=key.scopes,
        networks=key.networks,
        expires=key.expires,
        disabled=key.disabled,
        source="file",
    )


def _kept(row: Row) -> ShownKey:
    return ShownKey.model_validate({**row, "id": row["public_id"]})
