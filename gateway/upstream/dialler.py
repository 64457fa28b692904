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
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random

import httpx

from .addresses import is_public
from .connection import READ_SIZE, Connection
from .pool import Lost
from .resolver import NoRoom, Resolver, is_ours
from .settings import UpstreamSettings

_PORTS = {b"http": 80, b"https": 443}


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
                addresses = await self.addresses(origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no address in time") from error
        return await self._first(origin, addresses, lost, ends_at)

    async def addresses(self, origin: Origin) -> tuple[str, ...]:
        """
        Where an origin is, best first: checked, if it is public.

        Raises:
            AddressBlocked: as `dial`.
            httpx.ConnectError: nobody knows.
        """
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


def dialler_of(settings: UpstreamSettings) -> Dialler:
    """With the system's names."""
    resolver = Resolver(
        timeout=settings.resolve_timeout,
        stale=settings.resolve_stale,
        clock=time.monotonic,
        chance=Random(),  # noqa: S311 - nothing that it draws is a secret
    )
    return Dialler(resolver, bytearray(READ_SIZE))


def verifying(ca_file: Path | None) -> ssl.SSLContext:
    """
    How TLS is spoken: certificates are verified, and nothing of the environment is asked.

    Raises:
        OSError, ssl.SSLError: `ca_file` cannot be read.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def origin_of(url: httpx.URL, context: ssl.SSLContext | None, *, public: bool) -> Origin:
    """
    Where the requests for a URL go; `context` is for those with TLS.

    Raises:
        httpx.UnsupportedProtocol: to no place that is known here.
    """
    if url.raw_scheme not in _PORTS or not url.raw_host:
        raise httpx.UnsupportedProtocol("an upstream's URL starts with http:// or https://")
    port = _PORTS[url.raw_scheme] if url.port is None else url.port
    if not 0 < port < 65536:
        raise httpx.UnsupportedProtocol("an upstream's port is between 1 and 65535")
    has_tls = url.raw_scheme == b"https"
    return Origin(url.raw_host.decode("ascii"), port, context if has_tls else None, public)


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
