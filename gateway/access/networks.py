"""
Networks that a key works from.

An address is the peer's, or what a trusted proxy says it was; one that can't be read is in no
network, so that a key with networks is closed to it.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """
    Raises:
        ValueError: one is not a network in CIDR notation, or has bits beside its prefix.
    """
    return tuple(ip_network(text) for text in texts)


def is_within(address: str | None, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks. IPv4 written as IPv6 is IPv4."""
    try:
        read = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(read, IPv6Address) and read.ipv4_mapped is not None:
        read = read.ipv4_mapped
    return any(read in network for network in networks)
