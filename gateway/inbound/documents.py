"""The OpenAPI document: FastAPI's own routes, and the inference routes from their table."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from .. import __version__
from ..contract.answers import ErrorBody
from ..gates import api_routes, gates_of
from .routes import InferenceRoute

_REF = "#/components/schemas/{model}"
_Contents = dict[Any, dict[str, Any]]
"""What a document says of a body, by the type of the body."""

_ROLES = {
    "viewer": "any operator, from `POST /admin/v1/sessions`, or LOCKGATE_ADMIN_TOKEN",
    "admin": "an admin or an owner",
    "owner": "an owner",
}
_REFUSALS = {
    "400": "The request is malformed, or asks for what is not offered.",
    "401": "No valid key.",
    "404": "The model does not exist or the key may not use it.",
    "409": "The `Idempotency-Key` can't be answered: `code` says why.",
    "413": "The body is too large.",
    "429": "A limit is reached: `retry-after` says when to come back.",
    "502": "No upstream answered.",
    "503": "No upstream is available.",
    "504": "The upstream took too long.",
}

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key and body gets the first answer, and is not billed.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def openapi(app: FastAPI, inference: Sequence[InferenceRoute]) -> dict[str, Any]:
    """The document, with every route that the listener answers."""
    document = get_openapi(
        title="Lockgate",
        version=__version__,
        summary="One URL and one key per caller in front of every inference backend.",
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    contents = _contents(inference, schemas)
    components["securitySchemes"] = {
        "caller": {"type": "http", "scheme": "bearer", "description": "A key: `lg_…`."},
        "operator": {
            "type": "http",
            "scheme": "bearer",
            "description": "LOCKGATE_METRICS_TOKEN or LOCKGATE_ADMIN_TOKEN.",
        },
        **{
            role: {"type": "http", "scheme": "bearer", "description": f"A token of {an_actor}."}
            for role, an_actor in _ROLES.items()
        },
    }
    paths = document.setdefault("paths", {})
    for operations in paths.values():
        for operation in operations.values():
            # FastAPI tells of its own answer to what is malformed; ours is a 400 (api.py).
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for route in api_routes(app.routes):
        for gate in gates_of(route):
            if gate.access != "anyone":
                for method in route.methods or ():
                    paths[route.path_format][method.lower()]["security"] = [{gate.access: []}]
    document["paths"] = {
        route.path: {"post": _operation(route, contents)} for route in inference
    } | paths
    return document


def _contents(inference: Sequence[InferenceRoute], schemas: dict[str, Any]) -> _Contents:
    """Of all bodies of inference; `schemas` is given theirs."""
    bodies: dict[Any, TypeAdapter[Any]] = {ErrorBody: TypeAdapter(ErrorBody)}
    for route in inference:
        bodies[route.request] = route.request
        bodies[route.answer] = TypeAdapter(route.answer)
    refs, definitions = TypeAdapter.json_schemas(
        [(body, "validation", adapter) for body, adapter in bodies.items()], ref_template=_REF
    )
    schemas.update(definitions["$defs"])
    return {body: _content(ref, schemas) for (body, _), ref in refs.items()}


def _operation(route: InferenceRoute, contents: _Contents) -> dict[str, Any]:
    answers: dict[str, Any] = {"application/json": contents[route.answer]}
    if route.streams:
        answers["text/event-stream"] = {
            "schema": {"type": "string", "description": "With `stream: true`: events, then [DONE]."}
        }
    refusals = {
        status: {"description": told, "content": {"application/json": contents[ErrorBody]}}
        for status, told in _REFUSALS.items()
    }
    return {
        "tags": ["inference"],
        "summary": route.summary,
        "operationId": route.operation,
        "security": [{route.access: []}],
        "parameters": [_IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {"application/json": contents[route.request]},
        },
        "responses": {"200": {"description": "The answer.", "content": answers}} | refusals,
    }


def _content(ref: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    examples = schemas[ref["$ref"].rpartition("/")[2]]["examples"]
    return {
        "schema": ref,
        "examples": {
            f"example {number}": {"value": value} for number, value in enumerate(examples, 1)
        },
    }
