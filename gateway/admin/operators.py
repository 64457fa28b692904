"""
Operators: who may administer. Only owners see and change them.

Whatever changes what an operator may do signs it out everywhere: its tokens name the moment
`signed_out`, and hold only while that is the row's.
"""

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr

from ..contract.errors import InvalidRequest
from ..store.objects import OPERATORS, Condition, Row
from ..store.tables import operators
from .actor import Role
from .administration import Change, View
from .errors import Conflict, NotFound
from .listing import Listing, Paging, listed
from .shapes import KEPT, Json, Kept, Name, Patch, Request, SecretText, TenantId
from .tenants import get_tenant
from .versions import ANY, Match, check_version

BOOTSTRAP, STRANGER = "bootstrap", "nobody"
"""
Whoever has the bootstrap token, and those of whom nobody knows who they are, as the audit log
names them: no operator has these names.
"""

_TENANT = "The one tenant that it sees. Default: all of them."

Password = Annotated[SecretText, Field(min_length=12, max_length=200)]


class NewOperator(Request):
    """An operator to make."""

    example: ClassVar[Json] = {
        "name": "anna",
        "password": "correct horse battery staple",
        "role": "admin",
        "tenant": "acme",
    }

    name: Name
    password: Password
    role: Role
    tenant: TenantId | None = Field(default=None, description=_TENANT)


class OperatorPatch(Patch):
    """A change of an operator, which signs it out everywhere."""

    example: ClassVar[Json] = {"role": "viewer"}

    password: Password = SecretStr("")
    role: Role = Role.VIEWER
    tenant: TenantId | None = Field(default=None, description=_TENANT)
    disabled: bool = False


class Operator(Kept):
    """An operator, without its password."""

    example: ClassVar[Json] = {
        "object": "operator",
        "name": "anna",
        "role": "admin",
        "tenant": "acme",
        "disabled": False,
        **KEPT,
    }

    object: Literal["operator"] = "operator"
    name: str
    role: Role
    tenant: str | None = None
    disabled: bool = False


async def list_operators(
    view: View, paging: Paging | None = None, *, tenant: str | None = None
) -> Listing[Operator]:
    """
    A page of the operators; all of them where none is asked for.

    Raises:
        Forbidden: the actor is no owner.
        InvalidRequest: the place to go on from is none.
    """
    view.actor.require(Role.OWNER, everywhere=True)
    conditions: list[Condition] = [] if tenant is None else [operators.c.tenant == tenant]
    return await listed(view, OPERATORS, _kept, *conditions, paging=paging)


async def get_operator(view: View, name: str) -> Operator:
    """
    Raises:
        Forbidden: the actor is no owner.
        NotFound: there is none.
    """
    view.actor.require(Role.OWNER, everywhere=True)
    row = await OPERATORS.find(view.connection, name)
    if row is None:
        raise NotFound("operator")
    return _kept(row)


async def create_operator(change: Change, new: NewOperator, password_hash: str) -> Operator:
    """
    Raises:
        Forbidden: the actor is no owner.
        Conflict: the name is taken.
        InvalidRequest: its tenant does not exist, or is given to an owner.
    """
    change.actor.require(Role.OWNER, everywhere=True)
    if (
        new.name in {BOOTSTRAP, STRANGER}
        or await OPERATORS.find(change.connection, new.name) is not None
    ):
        raise Conflict("An operator of this name exists.", code="already_exists", param="name")
    await _check_reach(change, new.role, new.tenant)
    values = {
        **new.model_dump(exclude={"password"}),
        "password_hash": password_hash,
        "disabled": False,
        "signed_out": change.now,
    }
    operator = _kept(await OPERATORS.add(change.connection, values, change.now))
    await change.record(
        "create", "operator", new.name, tenant=operator.tenant, after=operator.record()
    )
    return operator


async def update_operator(
    change: Change,
    name: str,
    patch: OperatorPatch,
    match: Match = ANY,
    *,
    password_hash: str | None = None,
) -> Operator:
    """
    Change an operator and sign it out. `password_hash` is that of the patch's password.

    Raises:
        Forbidden: the actor is no owner.
        NotFound, VersionMismatch: it can't be changed, or not in this version.
        InvalidRequest: its tenant does not exist, or is given to an owner.
    """
    row = await _changeable(change, name, match)
    before = _kept(row)
    values = patch.given()
    if values.pop("password", None) is not None:
        assert password_hash is not None, "hashed before the transaction"
        values["password_hash"] = password_hash
    await _check_reach(change, values.get("role", before.role), values.get("tenant", before.tenant))
    values["signed_out"] = later(row["signed_out"], change.now)
    after = _kept(await OPERATORS.change(change.connection, (name,), values, change.now))
    told = {**after.record(), "password_changed": "password_hash" in values}
    await change.record(
        "update", "operator", name, tenant=after.tenant, before=before.record(), after=told
    )
    return after


async def delete_operator(change: Change, name: str, match: Match = ANY) -> None:
    """
    Raises:
        Forbidden: the actor is no owner.
        NotFound, VersionMismatch: it can't be deleted, or not in this version.
    """
    before = _kept(await _changeable(change, name, match))
    await OPERATORS.remove(change.connection, name)
    await change.record("delete", "operator", name, tenant=before.tenant, before=before.record())


def later(earlier: datetime, now: datetime) -> datetime:
    """Now, but after what was before: two moments are never the same."""
    return max(now, earlier + timedelta(microseconds=1))


async def _changeable(change: Change, name: str, match: Match) -> Row:
    before = await get_operator(change, name)
    check_version(match, before.version)
    row = await OPERATORS.find(change.connection, name)
    assert row is not None, "it was there, in this transaction"
    return row


async def _check_reach(change: Change, role: Role, tenant: str | None) -> None:
    if tenant is None:
        return
    if role is Role.OWNER:
        raise InvalidRequest("An owner is bound to no tenant.", param="tenant")
    try:
        if (await get_tenant(change, tenant)).source == "file":
            raise InvalidRequest(
                "Tenants of the configuration file have no operators of their own.",
                param="tenant",
                code="read_only",
            )
    except NotFound:
        raise InvalidRequest(
            f"No tenant is called {tenant!r}.", param="tenant", code="unknown_tenant"
        ) from None


def _kept(row: Row) -> Operator:
    return Operator.model_validate(dict(row))
