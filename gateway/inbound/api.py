"""
The FastAPI applications: everything that is not inference.

Errors have one shape on every route, FastAPI's own included, and an internal one is a constant:
its particulars are for the log.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from .. import __version__
from ..contract.errors import GatewayError, InternalError, InvalidRequest
from ..gates import check
from .bounded import BodyRefused
from .documents import openapi
from .errors import error_body, error_headers
from .routes import INFERENCE, InferenceRoute

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_api(
    routers: Sequence[APIRouter],
    *,
    docs: bool,
    inference: Sequence[InferenceRoute] = INFERENCE,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """
    An application of those routes; its document tells of the `inference` beside it, too.

    Raises:
        TypeError: a route does not say who may call it.
    """
    api = FastAPI(
        title="Lockgate",
        version=__version__,
        docs_url="/docs" if docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if docs else None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for router in routers:
        api.include_router(router)
    check(api.routes)
    api.add_exception_handler(GatewayError, _gateway_error)
    api.add_exception_handler(RequestValidationError, _validation_error)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _internal_error)

    def document() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = openapi(api, inference)
        return api.openapi_schema

    api.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return api


def _answer(
    error: GatewayError, status: int | None = None, more: Mapping[str, str] | None = None
) -> Response:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return JSONResponse(error_body(error), status or error.status, {**headers, **(more or {})})


async def _gateway_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError), "registered for it"
    return _answer(error)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for it"
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:])
    return _answer(
        InvalidRequest(str(first["msg"]).removeprefix("Value error, "), param=param or None)
    )


async def _http_error(_: Request, error: Exception) -> Response:
    """A path or a method that does not exist, or a body that is out of bounds."""
    assert isinstance(error, HTTPException), "registered for it"
    if isinstance(error, BodyRefused):
        return _answer(error.refusal)
    told = InvalidRequest(str(error.detail), code="not_found" if error.status_code == 404 else None)
    return _answer(told, error.status_code, error.headers)


async def _internal_error(_: Request, __: Exception) -> Response:
    """The server raises the error again after this, and the edge writes it to the log."""
    return _answer(InternalError())
