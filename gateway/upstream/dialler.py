"""
From an origin to a connection: resolve, check, and try one address after the other.

The address that is connected to is the very one that was checked, whatever the name means by
then; TLS still asks for the name. A public origin that has any address of a private network is
refused as a whole, for no honest one has. Each address has its share of the time that is left, so
that one which swallows packets doesn't cost the others their turn. A failure of TLS is the answer:
no other address, and no other way, is tried after it.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from .addresses import is_public
from .connection import Connection
from .pool import Lost
from .resolver import NoRoom, Resolver, is_ours


class AddressBlocked(httpx.ConnectError):
    """A public origin's name has come to mean a private address; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where connections go. `context` is how TLS is spoken, None for none; `public` says that every
    address must belong to the public internet.
    """

    host: str
    port: int
    context: ssl.SSLContext | None
    public: bool


class Dialler:
    """Opens connections, all reading into `buffer`; `allowed` says which addresses are public."""

    def __init__(
        self, resolver: Resolver, buffer: bytearray, *, allowed: Callable[[str], bool] = is_public
    ) -> None:
        self._resolver = resolver
        self._buffer = buffer
        self._allowed = allowed

    async def dial(self, origin: Origin, lost: Lost, within: float) -> Connection:
        """
        A connection to an origin within so many seconds; `lost` is the connection's.

        Raises:
            AddressBlocked: the origin is public, and an address of it is not.
            NoRoom: this process can open no further one.
            httpx.ConnectTimeout: there was none in time.
            httpx.ConnectError: no address, or none that takes connections, or no TLS.
        """
        ends_at = asyncio.get_running_loop().time() + within
        try:
            async with asyncio.timeout_at(ends_at):
                addresses = await self._addresses(origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no address in time") from error
        return await self._first(origin, addresses, lost, ends_at)

    async def _addresses(self, origin: Origin) -> tuple[str, ...]:
        host = origin.host
        addresses = (host,) if _is_literal(host) else await self._resolver.addresses(host)
        if origin.public:
            for address in addresses:
                if not self._allowed(address):
                    raise AddressBlocked(
                        f"a public upstream has the private address {address}: "
                        "if it is meant to, its provider is `network: private`"
                    )
        return addresses

    async def _first(
        self, origin: Origin, addresses: tuple[str, ...], lost: Lost, ends_at: float
    ) -> Connection:
        """The first address that takes a connection, else what the last one said."""
        clock = asyncio.get_running_loop().time
        for left in range(len(addresses), 1, -1):
            share_ends = clock() + (ends_at - clock()) / left
            try:
                return await self._connect(origin, addresses[-left], lost, share_ends)
            except httpx.TransportError as error:
                if isinstance(error.__cause__, ssl.SSLError):
                    raise
        return await self._connect(origin, addresses[-1], lost, ends_at)

    async def _connect(
        self, origin: Origin, address: str, lost: Lost, ends_at: float
    ) -> Connection:
        made = Connection(buffer=self._buffer, lost=lost)
        name = None if origin.context is None else origin.host
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(ends_at):
                await loop.create_connection(
                    lambda: made, address, origin.port, ssl=origin.context, server_hostname=name
                )
        except TimeoutError as error:  # the kernel's own time-out too
            made.close()
            raise httpx.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:  # refused, no route, TLS
            made.close()
            kind = NoRoom if is_ours(error) else httpx.ConnectError
            raise kind(f"no connection: {error}") from error
        except BaseException:
            made.close()
            raise
        return made


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
