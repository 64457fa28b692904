"""
Forgetting a tenant, for good: what is its own goes, what it cost stays.

Only owners do that, and they name the tenant twice.
"""

from typing import ClassVar, Literal

from pydantic import Field

from ..contract.errors import InvalidRequest
from ..store import erase
from .actor import Role
from .administration import Change
from .errors import ReadOnly
from .shapes import Json, Request, Shown, TenantId


class Erasure(Request):
    """That a tenant is to be forgotten."""

    example: ClassVar[Json] = {"confirm": "acme"}

    confirm: TenantId = Field(description="The tenant's id once more: this can't be undone.")


class Erased(Shown):
    """What was forgotten, beside the tenant's projects, keys and operators."""

    example: ClassVar[Json] = {"object": "erased", "tenant": "acme", "ledger_rows": 1200}

    object: Literal["erased"] = "erased"
    tenant: str
    ledger_rows: int = Field(
        description="Rows of the ledger that have lost what callers wrote into them."
    )


async def erase_tenant(change: Change, tenant: str, erasure: Erasure) -> Erased:
    """
    Erase a tenant, or what one that is gone has left behind.

    Raises:
        Forbidden: the actor is no owner.
        InvalidRequest: the tenant is not named twice.
        ReadOnly: it is the configuration file's; take it out of there first.
    """
    change.actor.require(Role.OWNER, everywhere=True)
    if erasure.confirm != tenant:
        raise InvalidRequest("This is not the tenant's id.", param="confirm")
    if tenant in change.configured.tenants:
        raise ReadOnly("tenant")
    erased = Erased(tenant=tenant, ledger_rows=await erase.erase_tenant(change.connection, tenant))
    await change.record(
        "erase", "tenant", tenant, tenant=tenant, after={"ledger_rows": erased.ledger_rows}
    )
    return erased
