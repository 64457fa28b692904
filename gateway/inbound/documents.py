"""The OpenAPI document: FastAPI's own routes, and the inference routes from their table."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .. import __version__
from ..contract.answers import ErrorBody
from ..gates import api_routes, gates_of
from .routes import InferenceRoute

_REF = "#/components/schemas/{model}"
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
    models = {m for route in inference for m in (route.request, route.answer)} | {ErrorBody}
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda m: m.__name__)],
        ref_template=_REF,
    )
    schemas.update(definitions["$defs"])
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
    document["paths"] = {route.path: {"post": _operation(route)} for route in inference} | paths
    return document


def _operation(route: InferenceRoute) -> dict[str, Any]:
    answers: dict[str, Any] = {"application/json": _content(route.answer)}
    if route.streams:
        answers["text/event-stream"] = {
            "schema": {"type": "string", "description": "With `stream: true`: events, then [DONE]."}
        }
    refusals = {
        status: {"description": told, "content": {"application/json": _content(ErrorBody)}}
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
            "content": {"application/json": _content(route.request)},
        },
        "responses": {"200": {"description": "The answer.", "content": answers}} | refusals,
    }


def _content(model: type[BaseModel]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    config = model.model_config.get("json_schema_extra")
    if isinstance(config, dict) and isinstance(examples := config.get("examples"), list):
        content["examples"] = {
            f"example {number}": {"value": value} for number, value in enumerate(examples, 1)
        }
    return content
