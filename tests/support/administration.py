"""
Administration over a real database, without the rest of the gateway.

    office = office_of(database)
    async with office.client() as http:
        await http.post("/admin/v1/tenants", json={"id": "acme"})
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import count
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import insert, select

from gateway.access import Key, KeySettings, Peppers, TenantSettings, issue
from gateway.admin.actor import Actor, Role
from gateway.admin.administration import Administration, Change, View
from gateway.admin.configured import Configured
from gateway.admin.deps import Parts
from gateway.admin.errors import ConfigRefused
from gateway.admin.keys import Verifier
from gateway.admin.passwords import Passwords
from gateway.admin.reload import Reloaded
from gateway.admin.routers import admin_routers
from gateway.admin.sessions import Sessions
from gateway.admin.throttle import Throttle
from gateway.admin.tokens import Tokens
from gateway.inbound.addresses import ClientAddresses
from gateway.inbound.api import create_api
from gateway.limits import PlanSettings
from gateway.store.audit import AuditLog
from gateway.store.database import Database
from gateway.store.tables import audit, operators

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
BOOTSTRAP = "the-bootstrap-token-of-these-tests"
SECRET = "a-secret-for-tokens-of-these-tests"
PASSWORD = "correct horse battery"
PEPPERS = Peppers(b"a-pepper-of-these-tests")
AUDIT_SECRET = b"a-secret-for-the-audit-log-of-these-tests"
FILE_KEY = Key("filekey00000", "s" * 32)
OWNER = Actor("olga", Role.OWNER)
"""For operations that are called without HTTP."""

CONFIGURED = Configured(
    plans={"default": PlanSettings(requests="600/minute"), "small": PlanSettings(concurrency=2)},
    tenants={
        "written": TenantSettings(
            plan="small",
            models=("chat",),
            keys=(KeySettings(name="ci", key=SecretStr(FILE_KEY.reveal())),),
        )
    },
    models=frozenset({"chat", "embed", "org/other:latest"}),
)


def verifier(number: int = 1) -> Verifier:
    """What would be kept of one key or another."""
    return Verifier(f"key{number:09}", bytes([number]) * 32, PEPPERS.current.name)


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Go on by so much."""
        self.now += timedelta(seconds=seconds)


@dataclass
class Office:
    """Everything that administration is made of, and its application."""

    database: Database
    clock: Clock
    audit: AuditLog
    administration: Administration
    sessions: Sessions
    passwords: Passwords
    throttle: Throttle
    hashes: dict[str, str] = field(default_factory=dict)
    reloads: int = 0
    faults: tuple[str, ...] = ()
    """What is wrong with the configuration file, if anything is."""

    async def reload(self) -> Reloaded:
        """As if there were a file."""
        if self.faults:
            raise ConfigRefused(self.faults)
        self.reloads += 1
        return Reloaded(sha256="5e8f" * 16, needs_restart=("limits.lease",))

    @cached_property
    def api(self) -> FastAPI:
        """The application; it takes a while to build, so only those wait who ask over HTTP."""
        issued = partial(issue, PEPPERS)
        peer = ClientAddresses()
        parts = Parts(self.administration, self.sessions, self.passwords, peer, issued, self.reload)
        return create_api(admin_routers(parts), docs=True, inference=())

    def client(self, token: str | None = BOOTSTRAP) -> httpx.AsyncClient:
        """Somebody with that token; None is nobody."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.api), base_url="http://gateway", headers=headers
        )

    def view(self, actor: Actor = OWNER) -> AbstractAsyncContextManager[View]:
        """What the actor sees."""
        return self.administration.reading(actor)

    def change(self, actor: Actor = OWNER) -> AbstractAsyncContextManager[Change]:
        """A change that the actor makes."""
        return self.administration.writing(actor)

    async def operator(
        self, name: str, role: Role, tenant: str | None = None, *, disabled: bool = False
    ) -> str:
        """A new operator with `PASSWORD`, and a token of its."""
        if PASSWORD not in self.hashes:
            self.hashes[PASSWORD] = await self.passwords.hash(SecretStr(PASSWORD))
        now = self.clock()
        row = {
            "name": name,
            "password_hash": self.hashes[PASSWORD],
            "role": role,
            "tenant": tenant,
            "disabled": disabled,
            "signed_out": now,
            "created": now,
            "updated": now,
        }
        async with self.database.writing() as connection:
            await connection.execute(insert(operators).values(row))
        return self.token(name, role, tenant, since=now)

    def token(
        self, name: str, role: Role, tenant: str | None = None, *, since: datetime = START
    ) -> str:
        """A token as signing in would give it, at this moment."""
        return self.sessions.token_of(Actor(name, role, tenant), since).token

    async def events(self) -> Sequence[Mapping[str, Any]]:
        """The audit rows, the first one first."""
        async with self.database.reading() as connection:
            found = await connection.execute(select(audit).order_by(audit.c.seq))
            return found.mappings().all()


def office_of(database: Database, configured: Configured = CONFIGURED) -> Office:
    """Administration over a database that is open."""
    clock = Clock()
    log = AuditLog.of(AUDIT_SECRET, now=clock)
    administration = Administration(database, log, configured=lambda: configured, now=clock)
    ids = count()
    tokens = Tokens(SecretStr(SECRET), now=clock, new_id=lambda: f"token-{next(ids)}")
    passwords, throttle = Passwords(), Throttle()
    sessions = Sessions(administration, tokens, passwords, throttle, SecretStr(BOOTSTRAP))
    return Office(database, clock, log, administration, sessions, passwords, throttle)
