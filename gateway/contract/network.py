"""
Where an upstream may be: on the public internet, or anywhere the operator says.

The name of a public upstream is looked up by whoever serves its domain, and could one day mean an
address within our own network. So what it means is checked before anything is sent there. An
address, or a name that no public server answers for, is the operator's own statement: there is
nothing that could be turned round.
"""

from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

Network = Literal["public", "private"]

_LOCAL: Final = ("localhost", "local", "internal", "home.arpa", "svc", "test")
"""Domains that are never delegated, and Kubernetes' short form of its own."""


def is_public(base_url: str, stated: Network | None, usual: Network) -> bool:
    """
    Whether the host may only have public addresses: what is stated for a provider holds, else what
    the address itself says, else what is usual for its kind.
    """
    if stated is not None:
        return stated == "public"
    return usual == "public" and not _is_local(urlsplit(base_url).hostname or "")


def _is_local(host: str) -> bool:
    name = host.removesuffix(".")
    if "." not in name:  # a short name, or an IPv6 address
        return True
    try:
        ip_address(name)
    except ValueError:
        return name.endswith(tuple(f".{each}" for each in _LOCAL))
    return True
