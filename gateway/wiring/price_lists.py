"""
The public price lists, loaded when the first price is asked for that nobody has stated.
"""

from datetime import UTC, datetime
from functools import cache
from importlib import import_module

from ..pricing import ListPrice, Price


def public_lists() -> ListPrice:
    """The lists as they stand today; a price that changes later holds from the next start."""

    @cache
    def lists() -> ListPrice:
        catalogue = import_module("gateway.pricing.catalogue").Catalogue(datetime.now(UTC))
        find: ListPrice = catalogue.find
        return find

    def price(name: str, model: str) -> Price | None:
        return lists()(name, model)

    return price
