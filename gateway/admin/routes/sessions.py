"""`/admin/v1/sessions` and `/admin/v1/me`: signing in and out, and oneself."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from ...gates import Anyone
from ..actor import Actor
from ..deps import PREFIX, Gates, Parts, refusals
from ..operators import Password
from ..route import AdminRoute
from ..sessions import Me, Session
from ..shapes import Json, Name, SecretText, Shown
from ..shapes import Request as Sent


class SignIn(Sent):
    """Who signs in."""

    example: ClassVar[Json] = {"name": "anna", "password": "correct horse battery staple"}

    name: Name
    password: Annotated[SecretText, Field(max_length=200)]


class PasswordChange(Sent):
    """Another password of one's own."""

    example: ClassVar[Json] = {
        "old": "correct horse battery staple",
        "new": "another correct horse",
    }

    old: Annotated[SecretText, Field(max_length=200)]
    new: Password


class SignedIn(Shown):
    """A token, to be sent as `Authorization: Bearer`."""

    example: ClassVar[Json] = {
        "object": "session",
        "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
        "expires": "2026-01-31T12:15:00Z",
        "actor": Me.example,
    }

    object: Literal["session"] = "session"
    token: str = Field(repr=False)
    expires: datetime
    actor: Me


def sessions_router(parts: Parts, gates: Gates) -> APIRouter:
    """Anyone may try to sign in; the rest is about whoever has."""
    router = APIRouter(prefix=PREFIX, tags=["sessions"], route_class=AdminRoute)
    sessions = parts.sessions
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type

    def address(request: Request) -> str:
        return parts.address(request.scope) or ""

    @router.post(
        "/sessions",
        status_code=201,
        responses=refusals(413, 429),
        dependencies=[Depends(Anyone())],
    )
    async def sign_in(sent: SignIn, request: Request, response: Response) -> SignedIn:
        session = await sessions.sign_in(sent.name, sent.password, address(request))
        response.headers["cache-control"] = "no-store"
        return _signed_in(session)

    @router.delete("/sessions", status_code=204, responses=refusals(409))
    async def sign_out(actor: Viewer) -> None:
        """End all of one's own sessions."""
        await sessions.sign_out(actor)

    @router.get("/me", responses=refusals())
    async def get_me(actor: Viewer) -> Me:
        return _me(actor)

    @router.put("/me/password", status_code=204, responses=refusals(409, 413, 429))
    async def change_password(actor: Viewer, sent: PasswordChange, request: Request) -> None:
        """This also ends all of one's own sessions."""
        await sessions.change_password(actor, sent.old, sent.new, address(request))

    return router


def _me(actor: Actor) -> Me:
    return Me(name=actor.name, role=actor.role, tenant=actor.tenant)


def _signed_in(session: Session) -> SignedIn:
    return SignedIn(token=session.token, expires=session.ends, actor=_me(session.actor))
