"""
What the targets of a configuration cost: the operator's prices file first, then the public lists.

The file is read like the configuration, but for its numbers, which stay decimals. Whatever is
wrong in it is told with its line and refuses the start, so that no mistake becomes a price of 0.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..contract.provider import AnyProvider, Target
from ..pricing import ListPrice, Price, PriceFile, Prices, PriceSettings
from .document import Document, as_decimal, contents, read
from .faults import ConfigError, Place, nearest, quoted
from .model import Config
from .validation import told

Found = Iterator[tuple[Place, str]]


@dataclass(frozen=True, slots=True)
class Priced:
    """The prices of a configuration, and the targets in use that have none."""

    prices: Prices
    missing: frozenset[str]


def no_list(*_: str) -> Price | None:
    """Where public lists are not asked."""
    return None


def price_targets(
    config: Config,
    stated: Mapping[str, Price],
    providers: Mapping[str, AnyProvider],
    list_price: ListPrice,
) -> Priced:
    """
    A price for each target that has one: as it is stated, else from its provider's list.

    Inactive providers need none, and are not looked up.
    """
    prices = dict(stated)
    missing = set()
    for target in _targets(config):
        provider = providers[target.provider]
        if target.name in prices or not provider.is_active:
            continue
        listed = provider.price_list(target.model)
        price = list_price(*listed) if listed is not None else None
        if price is None:
            missing.add(target.name)
        else:
            prices[target.name] = price
    return Priced(Prices(prices, unpriced=config.pricing.unpriced), frozenset(missing))


def stated_prices(
    config: Config,
    folder: Path,
    environ: Mapping[str, str],
    read_file: Callable[[Path], bytes] = contents,
) -> Mapping[str, Price]:
    """
    The prices of targets that the operator's file states; `folder` is the configuration's.

    Raises:
        ConfigError: it cannot be read or used; it has a line for every fault.
    """
    if config.pricing.file is None:
        return {}
    path = folder / config.pricing.file
    file = str(path)
    document = read(read_file(path), file, environ, fraction=as_decimal)
    # A heading whose entries are all commented out is as good as not there.
    data = {name: value for name, value in document.data.items() if value is not None}
    try:
        written = PriceFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(file, told(document, PriceFile, (), error)) from None
    faults = [
        document.fault(place, message)
        for place, message in (*_unknown(config, written), *_contradictions(config, written))
    ]
    if faults:
        raise ConfigError(file, faults)
    return dict(_prices(config, written, document, file))


def _targets(config: Config) -> Iterator[Target]:
    for model in config.models.values():
        for each in model.targets:
            yield Target(each.provider, each.model)


def _unknown(config: Config, written: PriceFile) -> Found:
    targets = {target.name for target in _targets(config)}
    for name in written.targets:
        if name not in targets:
            yield ("targets", name), f"no target {quoted(name)}{nearest(name, targets)}"
    for name in written.models:
        if name not in config.models:
            yield ("models", name), f"no model {quoted(name)}{nearest(name, config.models)}"


def _contradictions(config: Config, written: PriceFile) -> Found:
    """A target has one price, whatever the model that leads to it."""
    first: dict[str, str] = {}
    for model, target in _by_model(config, written):
        other = first.setdefault(target, model)
        if written.models[model] != written.models[other]:
            told = f"is not what model {quoted(other)} says of their target {quoted(target)}"
            yield ("models", model), f"{told}; state the price of that target"


def _by_model(config: Config, written: PriceFile) -> Iterator[tuple[str, str]]:
    """Models with a price, each with its targets that have none of their own."""
    for model in written.models:
        for each in config.models[model].targets if model in config.models else ():
            name = Target(each.provider, each.model).name
            if name not in written.targets:
                yield model, name


def _prices(
    config: Config, written: PriceFile, document: Document, file: str
) -> Iterator[tuple[str, Price]]:
    def price(settings: PriceSettings, place: Place) -> Price:
        return settings.price(f"{file}:{document.line(place)}")

    for target, settings in written.targets.items():
        yield target, price(settings, ("targets", target))
    for model, target in _by_model(config, written):
        yield target, price(written.models[model], ("models", model))
