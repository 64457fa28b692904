"""
What a transport's error means in the gateway's words.

A message says what happened, in our words or the kernel's, and never holds a header or a body.
"""

import ssl

import httpx

from ..contract.errors import (
    ProviderBlocked,
    ProviderBusy,
    ProviderDisconnected,
    ProviderError,
    ProviderGarbled,
    ProviderTimedOut,
    ProviderUnreachable,
)
from .dialler import AddressBlocked


def named(error: httpx.HTTPError) -> ProviderError:
    """The contract's error for a transport's."""
    told = f"{type(error).__name__}: {error}"
    match error:
        case httpx.ReadTimeout() | httpx.WriteTimeout():
            return ProviderTimedOut(told)
        case httpx.NetworkError() if not isinstance(error, httpx.ConnectError):
            return ProviderDisconnected(told)
        case httpx.RemoteProtocolError() | httpx.DecodingError():
            return ProviderGarbled(told, code="upstream_protocol_error")
        case httpx.PoolTimeout():  # ours: the upstream has done nothing wrong
            return ProviderBusy(told)
        case _:
            return _unsent(error, told)


def _unsent(error: httpx.HTTPError, told: str) -> ProviderError:
    """ConnectError, ConnectTimeout, and what could not be sent at all."""
    if isinstance(error, AddressBlocked):
        return ProviderBlocked(told)
    if not isinstance(error.__cause__, ssl.SSLError):
        return ProviderUnreachable(told)
    failed = ProviderUnreachable(told, code="upstream_tls_error")
    failed.status = 502
    return failed
