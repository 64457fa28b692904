"""
Forgets a tenant, but not what it cost.

Its projects, keys and operators go with it. Ledger rows keep their amounts, or bills and budgets
would change in hindsight; they lose what the tenant's callers wrote themselves. The audit log is
never changed: its rows name who administered what, and hold neither prompts nor tags. What
PostgreSQL has forgotten leaves its files with the next vacuum, SQLite's with the next checkpoint.
"""

from sqlalchemy import Text, cast, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .tables import ledger, tenants

BATCH = 2000
"""Rows of the ledger that one statement changes: each must end within the database's time-out."""


async def erase_tenant(connection: AsyncConnection, tenant: str) -> int:
    """
    Erase it in the caller's transaction; the number of ledger rows that had something to forget.

    Requests that are under way may still add such rows: suspend the tenant first, or repeat. A
    tenant that is not there is no error, as what an earlier one left behind is erased all the same.
    """
    await connection.execute(delete(tenants).where(tenants.c.id == tenant))
    written = (
        select(ledger.c.request_id)
        .where(
            ledger.c.tenant == tenant,
            or_(ledger.c.client_request_id.is_not(None), cast(ledger.c.tags, Text) != "{}"),
        )
        .limit(BATCH)
    )
    forget = (
        update(ledger)
        .where(ledger.c.request_id.in_(written))
        .values(client_request_id=None, tags={})
    )
    erased, forgot = 0, BATCH
    while forgot == BATCH:
        forgot = (await connection.execute(forget)).rowcount
        erased += forgot
    return erased
