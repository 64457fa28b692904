"""
Who may call a route: each FastAPI route depends on exactly one gate.

A gate is a dependency that says which access it stands for. `check` refuses an application in
which a route has none, so that a route can't be open by oversight.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from hmac import compare_digest

from fastapi import Request as HttpRequest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import SecretStr
from starlette.routing import BaseRoute

from ..access import Access as Keys
from ..access import Caller
from ..contract.errors import InvalidKey
from .routes import Access


class Gate(ABC):
    """What a route depends on to say who may call it."""

    access: Access

    @abstractmethod
    async def __call__(self, request: HttpRequest) -> object:
        """Let the request pass, or raise."""


class Anyone(Gate):
    """No credential is looked at."""

    access = "anyone"

    async def __call__(self, request: HttpRequest) -> None:
        """Let it pass."""


class CallerGate(Gate):
    """Lets holders of a valid key pass."""

    access = "caller"

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def __call__(self, request: HttpRequest) -> Caller:
        """
        Raises:
            InvalidKey: nobody who is known.
        """
        return await self._keys.caller(request.scope["headers"])


class OperatorGate(Gate):
    """Lets the holder of the operator's token pass; everyone, where operations are public."""

    access = "operator"

    def __init__(self, token: SecretStr, *, public: bool) -> None:
        self._token = token.get_secret_value().encode()
        self._public = public

    async def __call__(self, request: HttpRequest) -> None:
        """
        Raises:
            InvalidKey: not the operator.
        """
        if self._public:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_right = compare_digest(given.strip().encode(), self._token)
        if not (self._token and scheme.lower() == "bearer" and is_right):
            raise InvalidKey


def api_routes(routes: Iterable[BaseRoute]) -> list[RouteContext]:
    """FastAPI's own routes among them, those of included routers too."""
    contexts = iter_route_contexts(list(routes))
    return [each for each in contexts if isinstance(each.original_route, APIRoute)]


def gates_of(route: RouteContext) -> list[Gate]:
    """The gates that a route depends on."""
    return [call for call in _calls(route.dependant) if isinstance(call, Gate)]


def check(routes: Iterable[BaseRoute]) -> None:
    """
    Raises:
        TypeError: a route does not say, in exactly one way, who may call it.
    """
    for route in api_routes(routes):
        if len(gates_of(route)) != 1:
            raise TypeError(f"route {route.path} must depend on exactly one gate")


def _calls(dependant: Dependant) -> Iterator[object]:
    for each in dependant.dependencies:
        yield each.call
        yield from _calls(each)
