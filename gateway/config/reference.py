"""
The configuration reference, written from the settings themselves so that it can't differ.

`config/README.md` is this for the kinds that come with Lockgate, written by
`lockgate check --reference`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..contract.provider import ProviderSettings
from ..pricing import PriceFile, PriceSettings
from ..registry import Registry
from ..settings import Settings
from .model import Config

_OPENING = """# Configuration

One YAML file says what is served, to whom and by whom; the environment says where. Everything
below is written from the code by `lockgate check --reference`; `schema.json` holds the same for
editors. `lockgate check --config FILE` tells every fault of a file with its line.

- `${NAME}` in a value stands for the environment variable NAME, which must be set;
  `${NAME:-default}` for its value or the default; `$${` for a plain `${`.
- A duration is `500ms`, `10s`, `2m`, `1h` or a number of seconds.
- A rate is an amount per time: `10/second`, `600/minute`, `2 per 5 minute`, several with `;`.
  Seconds, minutes and hours are sliding windows; a day and a month are calendar periods in UTC.
- A key that is written but empty does not exist; a provider whose required credential is empty
  is inactive, and targets on it are skipped.
"""
_PRICES = """What `pricing.file` names: USD per million tokens, by target (`provider/model`)
or by public model. It is read like the configuration, and whatever is wrong in it refuses the
start. A request costs the sum of its parts, rounded up once to a nano-dollar, 0.000000001 USD."""
_HEAD = "| setting | default | meaning |\n|---|---|---|"


def reference(kinds: Mapping[str, type[ProviderSettings]] | None = None) -> str:
    """The page, in Markdown, for providers of these kinds. Default: all that are there."""
    if kinds is None:
        registry = Registry.load()
        kinds = {kind: registry.find(kind).Settings for kind in registry.kinds}
    parts = [_OPENING, "## Environment\n", _HEAD]
    parts += [
        _row(f"LOCKGATE_{name.upper()}", field) for name, field in Settings.model_fields.items()
    ]
    for name, field in Config.model_fields.items():
        parts += [f"\n## `{name}`\n", field.description or "", "", _HEAD]
        if name == "providers":
            parts += _providers(kinds)
        else:
            parts += _rows(f"{name}.<name>" if _is_mapping(field) else name, field)
    parts += ["\n## The prices file\n", _PRICES, "", _HEAD]
    parts += [_row(f"{name}.<name>", field) for name, field in PriceFile.model_fields.items()]
    parts += [_row(f"….{name}", field) for name, field in PriceSettings.model_fields.items()]
    return "\n".join(parts) + "\n"


def _providers(kinds: Mapping[str, type[ProviderSettings]]) -> Iterator[str]:
    common = ProviderSettings.model_fields
    for name, field in common.items():
        yield from _rows(f"providers.<name>.{name}", field)
    for kind in sorted(kinds):
        for name, field in kinds[kind].model_fields.items():
            if name not in common or field.default != common[name].default:
                yield _row(f"providers.<name>.{name} ({kind})", field)


def _rows(path: str, field: FieldInfo) -> Iterator[str]:
    model = _model_in(field.annotation)
    if model is None:
        yield _row(path, field)
        return
    if field.default is None:
        yield _row(path, field)  # what it is to leave it out
    for name, inner in model.model_fields.items():
        below = f"{path}.{name}.<name>" if _is_mapping(inner) else f"{path}.{name}"
        nested = _model_in(inner.annotation)
        yield from (
            _rows(f"{below}[]" if _is_list(inner) else below, inner)
            if nested
            else [_row(below, inner)]
        )


def _row(path: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{path}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ((), ""):
        return ""
    return f"`{value}`"


def _is_mapping(field: FieldInfo) -> bool:
    return "Mapping" in str(field.annotation)


def _is_list(field: FieldInfo) -> bool:
    return "tuple" in str(field.annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings model that an annotation holds, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(each) for each in get_args(annotation))
    return next((each for each in found if each is not None), None)
