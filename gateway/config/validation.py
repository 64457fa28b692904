"""
What the settings models say of a document, told as faults with their lines.
"""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .document import Document
from .faults import Fault, Place, nearest


def told(
    document: Document, model: type[BaseModel], root: Place, error: ValidationError
) -> Iterator[Fault]:
    """What a settings model says of the part of a document that is at `root`."""
    for each in error.errors(include_url=False, include_input=False):
        # A key of a mapping is told apart from its value by a mark that is not in the file.
        place = tuple(part for part in each["loc"] if part != "[key]")
        yield document.fault((*root, *place), _message(model, place, each))


def _message(model: type[BaseModel], place: Place, error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return f"is not known here{nearest(str(place[-1]), _fields(model, place[:-1]))}"
        case "model_type" | "dict_type" | "mapping_type" | "model_attributes_type":
            return "must be a mapping"
        case _:
            return error["msg"].removeprefix("Value error, ")


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    """The names that are known at a place inside a settings model."""
    at: Any = model
    for part in place:
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = at.model_fields.get(str(part))
            at = _bare(field.annotation) if field else None
        else:
            at = _bare(get_args(at)[-1 if isinstance(part, str) else 0]) if get_args(at) else None
    return list(at.model_fields) if isinstance(at, type) and issubclass(at, BaseModel) else []


def _bare(annotation: Any) -> Any:
    """An annotation without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare(next(each for each in get_args(annotation) if each is not type(None)))
    return annotation
