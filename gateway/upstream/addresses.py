"""
Which addresses belong to the public internet.

A name of a public upstream may come to mean an address of our own network: the next thing a
credential is sent to would be a neighbour, or the cloud's metadata service. What is not known to
be public counts as private, and an IPv4 address that an IPv6 one carries is looked at instead of
it. Nothing here depends on Python's own idea of `is_global`, which changes between releases.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_PRIVATE: Final = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' translators, and some clouds' own services
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, which is retired
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_UNICAST: Final = IPv6Network("2000::/3")
_SPECIAL: Final = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",
    )
)
_CARRIERS: Final = (
    # Where an IPv6 address carries an IPv4 one, and how many bits follow it.
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("64:ff9b::/96"), 0),  # translated by NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)


def is_public(address: str) -> bool:
    """Whether everybody on the internet means the same host by it; no address at all is not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_4(parsed) if isinstance(parsed, IPv4Address) else _is_public_6(parsed)


def _is_public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _PRIVATE)


def _is_public_6(address: IPv6Address) -> bool:
    for network, after in _CARRIERS:
        if address in network:
            return _is_public_4(IPv4Address(int(address) >> after & 0xFFFF_FFFF))
    if address.scope_id is not None:
        return False
    return address in _UNICAST and not any(address in network for network in _SPECIAL)
