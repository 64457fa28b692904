"""
A configuration file -> a `Config`, or every fault in it with its line.

Four steps, each on what the one before accepted: the text, each part by its own settings model
(a provider by that of its kind), what the parts say of one another, and the prices of what is
configured.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from ..contract.provider import AnyProvider, ProviderSettings
from ..pricing import ListPrice, Price
from ..registry import BrokenProvider, UnknownKind
from .checks import check, check_prices
from .document import Document, Value, read
from .document import contents as contents
from .faults import ConfigError, Fault, Place
from .model import Config
from .prices import no_list, price_targets, stated_prices
from .validation import told as told

ProviderClass = Callable[[str], type[AnyProvider]]
"""Kind -> class, as `Registry.find` does it."""
ReadFile = Callable[[Path], bytes]
"""The bytes of a file, as `contents` reads them."""


def load(
    path: Path,
    environ: Mapping[str, str],
    provider_class: ProviderClass,
    list_price: ListPrice = no_list,
    read_file: ReadFile = contents,
) -> Config:
    """
    Read a configuration file and the prices file that it names, each by `read_file`. `environ` is
    what `${NAME}` stands for; `list_price` is asked where the operator states no price.

    Raises:
        ConfigError: the file cannot be read or used; it has a line for every fault.
    """
    return parse(read_file(path), str(path), environ, provider_class, list_price, read_file)


def parse(
    raw: bytes,
    file: str,
    environ: Mapping[str, str],
    provider_class: ProviderClass,
    list_price: ListPrice = no_list,
    read_file: ReadFile = contents,
) -> Config:
    """
    Read the bytes of a configuration file; `file` is its name in messages, and where it lies is
    where `read_file` looks for its prices file.

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
    stated = stated_prices(config, Path(file).parent, environ, read_file)
    return _with_prices(config, document, file, stated, provider_class, list_price)


def _with_prices(
    config: Config,
    document: Document,
    file: str,
    stated: Mapping[str, Price],
    provider_class: ProviderClass,
    list_price: ListPrice,
) -> Config:
    providers = {
        name: provider_class(settings.kind)(name, settings)
        for name, settings in config.providers.items()
    }
    priced = price_targets(config, stated, providers, list_price)
    faults = [document.fault(place, told) for place, told in check_prices(config, priced.missing)]
    if faults:
        raise ConfigError(file, faults)
    return config.with_prices(priced.prices)


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
