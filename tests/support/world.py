"""
Two tenants that know nothing of one another, and every kind of operator.

Whatever belongs to the second one has `other` in its name, its id or its title, so that an answer
which shows any of it to the first can be told by its text.
"""

from datetime import timedelta
from random import Random

from pydantic import SecretStr
from sqlalchemy import select

from gateway.access import Key
from gateway.admin.actor import Actor, Role
from gateway.admin.keys import NewKey, Rotation, Verifier, create_key, rotate_key
from gateway.admin.plans import NewPlan, create_plan
from gateway.admin.projects import NewProject, create_project
from gateway.admin.sessions import Session
from gateway.admin.tenants import NewTenant, create_tenant
from gateway.admin.tokens import Tokens
from gateway.limits import PlanSettings
from gateway.store.ledger import insert
from gateway.store.ledger_rows import Row
from gateway.store.tables import operators
from tests.support.administration import BOOTSTRAP, PEPPERS, SECRET, START, Office

KEYS = {name: Key.generate(Random(name)) for name in ("acme", "acme-old", "other")}
"""A key of each tenant, and one that was rotated to acme's."""

STRANGERS = ("nobody", "key", "expired", "disabled", "deleted")
OPERATORS: dict[str, Actor] = {
    "viewer": Actor("vera", Role.VIEWER),
    "admin": Actor("adam", Role.ADMIN),
    "owner": Actor("olga", Role.OWNER),
    "own viewer": Actor("vito", Role.VIEWER, "acme"),
    "own admin": Actor("anna", Role.ADMIN, "acme"),
    "foreign admin": Actor("otto-other", Role.ADMIN, "other"),
}
DISABLED = Actor("dora", Role.OWNER)
FIXED = {"nobody": None, "bootstrap": BOOTSTRAP, "key": KEYS["acme"].reveal()}
"""What those show who have no token of a session."""


def kept(key: Key) -> Verifier:
    """What is kept of a key."""
    return Verifier(key.public_id, key.digest(PEPPERS.current), PEPPERS.current.name)


class World:
    """The two tenants and the operators, in one database."""

    def __init__(self, office: Office) -> None:
        self.office = office

    async def make(self) -> None:
        """Write everything."""
        async with self.office.change() as change:
            for tenant in ("acme", "other"):
                limits = PlanSettings(concurrency=3)
                await create_plan(change, NewPlan(name=f"of-{tenant}", limits=limits))
                new = NewTenant(
                    id=tenant, title=f"{tenant} Inc.", plan=f"of-{tenant}", models=("chat",)
                )
                await create_tenant(change, new)
                project = NewProject(id=f"p-{tenant}", title=f"of {tenant}")
                await create_project(change, tenant, project)
            old = await create_key(change, "acme", NewKey(name="ci-acme"), kept(KEYS["acme-old"]))
            overlap = Rotation(overlap=3600)
            await rotate_key(change, "acme", old.id, overlap, kept(KEYS["acme"]))
            await create_key(change, "other", NewKey(name="ci-other"), kept(KEYS["other"]))
        for actor in OPERATORS.values():
            await self.office.operator(actor.name, actor.role, actor.tenant)
        await self.office.operator(DISABLED.name, DISABLED.role, disabled=True)
        async with self.office.database.writing() as connection:
            await insert(connection, [self.ledger_row(each) for each in ("acme", "other")])

    def ledger_row(self, tenant: str) -> Row:
        """A request of that tenant's."""
        return Row(
            request_id=f"request-{tenant}",
            at=START,
            tenant=tenant,
            project=f"p-{tenant}",
            key=KEYS[tenant].public_id,
            operation="chat",
            model="chat",
            stream=False,
            outcome="succeeded",
            usage_source="measured",
            tags={"team": f"team-{tenant}"},
        )

    async def token(self, who: str) -> str | None:
        """What somebody would show at this moment; None is nothing."""
        if who in FIXED:
            return FIXED[who]
        if who == "deleted":
            return self.office.token("gone", Role.OWNER)
        if who == "expired":
            return self._expired(OPERATORS["owner"])
        return (await self._session(OPERATORS.get(who, DISABLED))).token

    async def _session(self, actor: Actor) -> Session:
        chosen = select(operators.c.signed_out).where(operators.c.name == actor.name)
        async with self.office.database.reading() as connection:
            since = (await connection.execute(chosen)).scalar_one()
        return self.office.sessions.token_of(actor, since)

    def _expired(self, actor: Actor) -> str:
        tokens = self.office.sessions._tokens
        earlier = Tokens(
            SecretStr(SECRET), now=lambda: START - timedelta(hours=1), new_id=lambda: "old"
        )
        self.office.sessions._tokens = earlier
        try:
            return self.office.token(actor.name, actor.role, actor.tenant)
        finally:
            self.office.sessions._tokens = tokens
