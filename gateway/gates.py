"""
Who may call a route: each FastAPI route depends on exactly one gate.

A gate is a dependency that says which access it stands for. `check` refuses an application in
which a route has none, so that a route can't be open by oversight.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute


class Gate(ABC):
    """What a route depends on to say who may call it, and with what: `access` is that word."""

    access: str

    @abstractmethod
    async def __call__(self, request: Request) -> object:
        """Let the request pass, or raise."""


class Anyone(Gate):
    """No credential is looked at."""

    access = "anyone"

    async def __call__(self, request: Request) -> None:
        """Let it pass."""


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
