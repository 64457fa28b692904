"""The configuration file: `load` gives one immutable `Config`, or every fault with its line."""

from .declarations import Declarations, load_declarations
from .faults import ConfigError
from .loader import ProviderClass, contents, load, parse
from .model import Config
from .reference import reference
from .schema import schema

__all__ = [
    "Config",
    "ConfigError",
    "ProviderClass",
    "contents",
    "load",
    "parse",
    "reference",
    "schema",
    "Declarations",
    "load_declarations",
]
