"""
The configuration file's JSON schema, for editors.

It says what a file may hold before the environment is put in: `${NAME}` may stand in the place
of any plain value. `config/schema.json` is this for the kinds that come with
Lockgate, written by `lockgate check --schema`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ..contract.provider import ProviderSettings
from ..registry import Registry
from .model import Config

_REFERENCE = {"type": "string", "pattern": r"\$\{"}
_ABOUT = ("title", "description", "default")


def schema(kinds: Mapping[str, type[ProviderSettings]] | None = None) -> dict[str, Any]:
    """The schema of a file that may use providers of these kinds. Default: all that are there."""
    if kinds is None:
        registry = Registry.load()
        kinds = {kind: registry.find(kind).Settings for kind in registry.kinds}
    models: list[type[BaseModel]] = [Config, *(kinds[kind] for kind in sorted(kinds))]
    refs, whole = models_json_schema([(model, "validation") for model in models])
    definitions = whole["$defs"]
    config = definitions.pop(refs[Config, "validation"]["$ref"].rpartition("/")[2])
    entries = []
    for kind in sorted(kinds):
        ref = refs[kinds[kind], "validation"]
        entry = definitions[ref["$ref"].rpartition("/")[2]]
        entry["properties"]["kind"] = {"const": kind}
        entries.append(ref)
    named = config["properties"]["providers"]
    named["patternProperties"] = {key: {"anyOf": entries} for key in named["patternProperties"]}
    filled: dict[str, Any] = _with_references(config | {"$defs": definitions})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | filled


def _with_references(node: Any) -> Any:
    match node:
        case {"type": str()} if _is_narrow(node):
            about = {k: v for k, v in node.items() if k in _ABOUT}
            kept = {k: v for k, v in node.items() if k not in _ABOUT}
            return about | {"anyOf": [kept, _REFERENCE]}
        case dict():
            # A key is never put in from the environment.
            return {
                key: each if key == "propertyNames" else _with_references(each)
                for key, each in node.items()
            }
        case list():
            return [_with_references(each) for each in node]
        case _:
            return node


def _is_narrow(node: Mapping[str, Any]) -> bool:
    """Whether the schema of a plain value leaves no room for a reference."""
    if node["type"] == "string":
        return "pattern" in node or "enum" in node or node.get("format") == "date-time"
    return node["type"] in ("integer", "number", "boolean")
