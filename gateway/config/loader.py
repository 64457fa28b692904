"""
A configuration file -> a `Config`, or every fault in it with its line.

Three steps, each on what the one before accepted: the text, each part by its own settings model
(a provider by that of its kind), and what the parts say of one another.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..contract.provider import AnyProvider, ProviderSettings
from ..registry import BrokenProvider, UnknownKind
from .checks import check
from .document import MAX_BYTES, Document, Value, read
from .faults import ConfigError, Fault, Place, nearest
from .model import Config

ProviderClass = Callable[[str], type[AnyProvider]]
"""Kind -> class, as `Registry.find` does it."""


def load(path: Path, environ: Mapping[str, str], provider_class: ProviderClass) -> Config:
    """
    Read a configuration file. `environ` is what `${NAME}` stands for.

    Raises:
        ConfigError: the file cannot be read or used; it has a line for every fault.
    """
    return parse(contents(path), str(path), environ, provider_class)


def contents(path: Path) -> bytes:
    """
    The bytes of a file, as many as can be read at all.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        raise ConfigError(str(path), [Fault(0, (), f"cannot be read: {reason}")]) from None


def parse(
    raw: bytes, file: str, environ: Mapping[str, str], provider_class: ProviderClass
) -> Config:
    """
    Read the bytes of a configuration file; `file` is its name in messages.

    Raises:
        ConfigError: as for `load`.
    """
    document = read(raw, file, environ)
    faults: list[Fault] = []
    # A heading whose entries are all commented out is as good as not there.
    data: dict[str, object] = {k: v for k, v in document.data.items() if v is not None}
    written = data.get("providers")
    if isinstance(written, dict):
        data["providers"], faults = _providers(document, written, provider_class)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        faults += told(document, Config, (), error)
        raise ConfigError(file, faults) from None
    faults += [document.fault(place, message) for place, message in check(config)]
    if faults:
        raise ConfigError(file, faults)
    return config


def _providers(
    document: Document, written: Mapping[str, Value], provider_class: ProviderClass
) -> tuple[dict[str, ProviderSettings], list[Fault]]:
    providers, faults = {}, []
    for name, entry in written.items():
        providers[name], found = _provider(document, name, entry, provider_class)
        faults += found
    return providers, faults


def _provider(
    document: Document, name: str, entry: Value, provider_class: ProviderClass
) -> tuple[ProviderSettings, list[Fault]]:
    """
    An entry as the settings of its kind. A stand-in takes the place of one that is wrong, so that
    what refers to it is not blamed as well.
    """
    place: Place = ("providers", name)
    if not isinstance(entry, dict) or not isinstance(kind := entry.get("kind"), str):
        return _UNUSABLE, [document.fault(place, "must be a mapping that names its kind")]
    try:
        settings: type[ProviderSettings] = provider_class(kind).Settings
    except (UnknownKind, BrokenProvider) as error:
        return _UNUSABLE, [document.fault((*place, "kind"), str(error))]
    try:
        return settings.model_validate(entry), []
    except ValidationError as error:
        return _UNUSABLE, list(told(document, settings, place, error))


_UNUSABLE = ProviderSettings(kind="unusable", base_url="http://localhost")


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
