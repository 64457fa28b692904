"""
Signing in, and telling by a token who it is.

A token is worth what its operator is worth at the moment: each request of administration reads
the operator's row, so that one who was disabled, signed out or given another role or password is
refused by all replicas at once. The bootstrap token needs no row and no database.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hmac import compare_digest
from typing import ClassVar, Literal

from pydantic import SecretStr

from ..store.objects import OPERATORS, Row
from .actor import Actor, Role
from .administration import Administration, View
from .errors import Conflict, NotSignedIn, WrongPassword
from .operators import BOOTSTRAP, STRANGER, later
from .passwords import Passwords
from .shapes import Json, Shown
from .throttle import Throttle
from .tokens import Claims, Tokens

OWNER = Actor(BOOTSTRAP, Role.OWNER)
NOBODY = Actor(STRANGER, Role.VIEWER)
"""In whose name the attempts of strangers are recorded."""


class Me(Shown):
    """Who is signed in."""

    example: ClassVar[Json] = {
        "object": "actor",
        "name": "anna",
        "role": "admin",
        "tenant": "acme",
    }

    object: Literal["actor"] = "actor"
    name: str
    role: Role
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A token, and whose it is until when."""

    token: str = field(repr=False)
    ends: datetime
    actor: Actor


class Sessions:
    """Operators sign in here, and are told by their tokens."""

    def __init__(
        self,
        administration: Administration,
        tokens: Tokens,
        passwords: Passwords,
        throttle: Throttle,
        bootstrap: SecretStr,
    ) -> None:
        self._administration = administration
        self._tokens = tokens
        self._passwords = passwords
        self._throttle = throttle
        self._bootstrap = bootstrap.get_secret_value().encode()

    async def actor(self, token: str) -> Actor:
        """
        Raises:
            NotSignedIn: it is nobody's token, or no longer.
            StoreUnavailable: the database is out of reach.
        """
        if self._bootstrap and compare_digest(token.encode(), self._bootstrap):
            return OWNER
        claims = self._tokens.read(token)
        row = None if claims is None else await self._row(claims.name)
        if row is None or row["disabled"] or _claims_of(row) != claims:
            raise NotSignedIn
        return _actor_of(row)

    async def sign_in(self, name: str, password: SecretStr, address: str) -> Session:
        """
        Exchange a password for a token; either outcome leaves an audit row.

        Raises:
            SignInThrottled: too many attempts; nothing was looked up or recorded.
            WrongPassword: nobody has this name and password.
            StoreUnavailable: the database is out of reach.
        """
        row = await self._proved(name, password, address)
        actor = _actor_of(row)
        await self._record(actor, "sign_in", name, address)
        return self.token_of(actor, row["signed_out"])

    def token_of(self, actor: Actor, since: datetime) -> Session:
        """A session of an operator that was last signed out at that moment."""
        claims = Claims(actor.name, actor.role, actor.tenant, _microseconds(since))
        token, ends = self._tokens.issue(claims)
        return Session(token, ends, actor)

    async def sign_out(self, actor: Actor) -> None:
        """
        End every token of the actor.

        Raises:
            Conflict: it has none to end: its token is the deployment's.
        """
        async with self._administration.writing(actor, Role.VIEWER) as change:
            row = await _own(change, actor)
            values = {"signed_out": later(row["signed_out"], change.now)}
            await OPERATORS.change(change.connection, (actor.name,), values, change.now)
            await change.record("sign_out", "operator", actor.name, tenant=actor.tenant)

    async def change_password(
        self, actor: Actor, old: SecretStr, new: SecretStr, address: str
    ) -> None:
        """
        Give the actor another password, which ends every token that it has.

        Raises:
            Conflict: it has no password.
            SignInThrottled, WrongPassword: as when signing in.
            NotSignedIn: the actor was signed out meanwhile, as by an owner's new password.
        """
        async with self._administration.reading(actor) as view:
            await _own(view, actor)
        proved = await self._proved(actor.name, old, address)
        password_hash = await self._passwords.hash(new)
        async with self._administration.writing(actor, Role.VIEWER) as change:
            row = await _own(change, actor)
            if row["signed_out"] != proved["signed_out"]:
                raise NotSignedIn
            values = {
                "password_hash": password_hash,
                "signed_out": later(row["signed_out"], change.now),
            }
            await OPERATORS.change(change.connection, (actor.name,), values, change.now)
            await change.record("change_password", "operator", actor.name, tenant=actor.tenant)

    async def _proved(self, name: str, password: SecretStr, address: str) -> Row:
        """The row of the operator whose name and password these are."""
        self._throttle.attempt(address, name)
        row = await self._row(name)
        kept = None if row is None else row["password_hash"]
        is_right = await self._passwords.is_right(password, kept)
        if row is None or not is_right or row["disabled"]:
            await self._record(NOBODY, "sign_in_refused", name, address)
            raise WrongPassword
        self._throttle.forgive(name)
        return row

    async def _record(self, actor: Actor, action: str, name: str, address: str) -> None:
        async with self._administration.writing(actor, Role.VIEWER) as change:
            after = {"address": address}
            await change.record(action, "session", name, tenant=actor.tenant, after=after)

    async def _row(self, name: str) -> Row | None:
        async with self._administration.reading(NOBODY) as view:
            return await OPERATORS.find(view.connection, name)


async def _own(view: View, actor: Actor) -> Row:
    row = await OPERATORS.find(view.connection, actor.name)
    if row is None:
        raise Conflict("You have signed in without a password.", code="no_password")
    return row


def _claims_of(row: Row) -> Claims:
    return Claims(row["name"], row["role"], row["tenant"], _microseconds(row["signed_out"]))


def _actor_of(row: Row) -> Actor:
    return Actor(row["name"], Role(row["role"]), row["tenant"])


def _microseconds(instant: datetime) -> int:
    """Since 1970, exactly."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
