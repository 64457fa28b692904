"""
What every route of administration is: small bodies and known names in, nothing empty out.

FastAPI reads a body before it asks who sent it, so the bound is what a stranger may make the
gateway keep in memory.
"""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ..contract.errors import BodyTooLarge, InvalidRequest

MAX_BODY = 256 * 1024
"""Bytes: some times more than the largest plan or list of models that anybody writes."""


class AdminRoute(APIRoute):
    """
    Refuses bodies above `MAX_BODY` or of another type than JSON, and unknown names in the query,
    where a misspelt filter would show everything; leaves out fields that have no value.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "response_model_exclude_none": True})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, fed through the bound."""
        handle = super().get_route_handler()
        known = set(_query_names(self.dependant))

        async def bounded(request: Request) -> Response:
            for name in request.query_params.keys() - known:
                raise InvalidRequest("This is nothing that can be asked for here.", param=name)
            held = Request(request.scope, _at_most(MAX_BODY, request.receive))
            try:
                body = await held.body()  # here, as FastAPI calls every error of reading a 400
            except ClientDisconnect:
                raise InvalidRequest("The body did not arrive.") from None
            if body and self.body_field is not None and not _is_json(request.headers):
                raise InvalidRequest(
                    "The body must be JSON, with `content-type: application/json`.",
                    param="content-type",
                )
            return await handle(held)

        return bounded


def _is_json(headers: Headers) -> bool:
    """As FastAPI tells, which would take any other body for a text."""
    kind, _, form = headers.get("content-type", "").partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (form == "json" or form.endswith("+json"))


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from _query_names(each)


def _at_most(most: int, receive: Receive) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise BodyTooLarge(f"The body is larger than {most} bytes.")
        return message

    return counted
