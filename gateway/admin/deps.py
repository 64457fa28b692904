"""What routes of administration share: their parts, their gates, and how they read requests."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Path, Query, Response
from starlette.types import Scope

from ..access import Issued
from ..contract.answers import ErrorBody
from .actor import Role
from .administration import Administration
from .gates import RoleGate
from .listing import MAX_CURSOR, MAX_PAGE, Paging
from .passwords import Passwords
from .reload import Reloaded
from .sessions import Sessions
from .shapes import Kept, KeyId, Name, ProjectId, TenantId
from .versions import MAX_IF_MATCH, Match, etag, read_if_match

PREFIX = "/admin/v1"

Responses = dict[int | str, dict[str, Any]]
Object = TypeVar("Object", bound=Kept)


@dataclass(frozen=True, slots=True)
class Gates:
    """
    Who may call: whoever is signed in, whoever changes things, the same bound to no tenant, and
    owners.
    """

    viewer: RoleGate
    admin: RoleGate
    admin_everywhere: RoleGate
    owner: RoleGate

    @classmethod
    def of(cls, sessions: Sessions) -> "Gates":
        """The gates that ask these sessions."""
        return cls(
            viewer=RoleGate(sessions, Role.VIEWER),
            admin=RoleGate(sessions, Role.ADMIN),
            admin_everywhere=RoleGate(sessions, Role.ADMIN, everywhere=True),
            owner=RoleGate(sessions, Role.OWNER, everywhere=True),
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What the routes are made over. `issue` makes a key under the pepper of the moment, `address`
    tells where a request comes from, None where nobody can tell; `reload` takes over what the
    configuration file says, or raises `ConfigRefused`.
    """

    administration: Administration
    sessions: Sessions
    passwords: Passwords
    address: Callable[[Scope], str | None]
    issue: Callable[[], Issued] = field(repr=False)
    reload: Callable[[], Awaitable[Reloaded]]


def paging(
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Objects in a page at most.")] = 50,
    after: Annotated[
        str | None,
        Query(max_length=MAX_CURSOR, description="The `next` of the page before."),
    ] = None,
) -> Paging:
    """Which page of a list a request wants."""
    return Paging(limit=limit, after=after)


def if_match(
    if_match: Annotated[
        str | None,
        Header(
            max_length=MAX_IF_MATCH,
            description="The ETag of the object as it was read, or `*` for whichever it has. "
            "Without it the answer is 428.",
        ),
    ] = None,
) -> Match:
    """Which versions a change is meant for."""
    return read_if_match(if_match)


Page = Annotated[Paging, Depends(paging)]
Versions = Annotated[Match, Depends(if_match)]
TenantPath = Annotated[TenantId, Path()]
ProjectPath = Annotated[ProjectId, Path()]
KeyPath = Annotated[KeyId, Path()]
NamePath = Annotated[Name, Path()]


def tagged(response: Response, kept: Object) -> Object:
    """The object, with its version as the ETag of the response."""
    response.headers["etag"] = etag(kept.version)
    return kept


def located(response: Response, kept: Object, *path: str) -> Object:
    """The object that was made, with its ETag and its address."""
    response.headers["location"] = "/".join((PREFIX, *path))
    return tagged(response, kept)


_ETAG = {"ETag": {"description": "The version.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Its address.", "schema": {"type": "string"}}}
# By name, since the document has the model anyway: FastAPI would make one for each use of it.
_ERROR = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}}}
_TOLD = {
    400: "The request is malformed, or refers to what does not exist.",
    401: "No valid token.",
    403: "The role does not allow it.",
    404: "There is no such object that you may see.",
    409: "It contradicts what is there.",
    412: "The object has changed since it was read.",
    413: "The body is too large.",
    428: "If-Match is missing.",
    429: "Too many attempts.",
    503: "The database is out of reach.",
}


def refusals(*statuses: int) -> Responses:
    """What a route may answer instead, beside what every route of administration may."""
    return {
        status: {"description": _TOLD[status], "content": _ERROR}
        for status in sorted({400, 401, 403, 503, *statuses})
    }


def shows() -> Responses:
    """The answer of a route that shows an object."""
    return {HTTPStatus.OK: {"headers": _ETAG}}


def makes() -> Responses:
    """The answer of a route that makes an object."""
    return {HTTPStatus.CREATED: {"headers": _ETAG | _LOCATION}}
