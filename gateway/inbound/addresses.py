"""
Where a request comes from.

It is the peer of the connection, unless that is a proxy which the operator trusts: then it is
what the proxy says, in the last entry of `X-Forwarded-For`. Entries further left are believed
only as far as each one to their right is a trusted proxy too, so that nobody gains anything by
sending the header along. What can't be read is an address that is not known.

Hot: once a request.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from starlette.types import Scope

from ..access import is_within, networks_of

MOST_PROXIES = 16
"""Entries that are read; a longer way through trusted proxies leads nowhere."""

_HEADER = b"x-forwarded-for"


class ClientAddresses:
    """
    Tells where requests come from; `trusted` are the networks of proxies in front.

    Raises:
        ValueError: one is not a network.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = networks_of(trusted)

    def __call__(self, scope: Scope) -> str | None:
        """The address of who sent the request with this ASGI scope, None if nobody can tell."""
        client = scope.get("client")
        peer: str | None = client[0] if client else None
        if not self._trusted or not is_within(peer, self._trusted):
            return peer
        nearest = peer
        for entry in _entries(scope["headers"]):
            nearest = _address(entry)
            if nearest is None or not is_within(nearest, self._trusted):
                return nearest
        return nearest


def _entries(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """What the proxies have said, the nearest first; at the bound, something unreadable."""
    rest = b",".join([value for name, value in headers if name == _HEADER])
    for _ in range(MOST_PROXIES):
        if not rest:
            return
        rest, _, entry = rest.rpartition(b",")
        yield entry
    if rest:
        yield b""


def _address(entry: bytes) -> str | None:
    """An address of an entry: alone, with a port, or in brackets."""
    text = entry.decode("latin-1").strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
