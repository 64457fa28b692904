"""
Who is asking: from the headers of a request to a caller.

A key is shown once and kept as a public id and a keyed digest. A malformed key costs no look-up,
and every refusal looks the same from outside.
"""

from .callers import Access, Caller, KeySource, StoredKey
from .configured import ConfiguredKeys, FileFirst
from .failures import Buckets, Failures
from .generate import Issued, describe_new_key, issue, new_key
from .headers import credential
from .holders import Holders
from .key import SCANNER, Key
from .networks import Network, is_within, networks_of
from .pepper import Pepper, Peppers, load_pepper
from .settings import (
    ALL_MODELS,
    SCOPES,
    AccessSettings,
    KeySettings,
    NetworkText,
    Scope,
    TenantId,
    TenantSettings,
)
from .stored import Clocks, StoredKeys

__all__ = [
    "Access",
    "Caller",
    "Key",
    "KeySource",
    "StoredKey",
    "ConfiguredKeys",
    "FileFirst",
    "Buckets",
    "Failures",
    "Clocks",
    "StoredKeys",
    "Holders",
    "Network",
    "NetworkText",
    "is_within",
    "networks_of",
    "credential",
    "SCANNER",
    "describe_new_key",
    "new_key",
    "Issued",
    "issue",
    "Pepper",
    "Peppers",
    "load_pepper",
    "ALL_MODELS",
    "SCOPES",
    "Scope",
    "AccessSettings",
    "KeySettings",
    "TenantId",
    "TenantSettings",
]
