"""
How many unknown keys an address may try.

Each address has a bucket that fills with every failure and drains at an even pace; while it is
full, keys that would have to be looked up are refused unseen. An IPv6 client is its /64, since
it has all of that. One number is kept for an address, and only for so many of them: whoever has
more addresses than that is held by the bound on look-ups instead. Attempts to sign in are counted
in such buckets, too.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItem, parse

MOST = 10_000
"""Addresses that are remembered; the one that failed longest ago is forgotten first."""

_PREFIX = 64


class Buckets:
    """
    Buckets by name, of which the one that was filled longest ago goes first where there are more
    than `most`. `rate` is in the notation of the `limits` package, `clock` in seconds.

    Raises:
        ValueError: the notation is wrong.
    """

    def __init__(
        self, rate: str, *, clock: Callable[[], float] = time.monotonic, most: int = MOST
    ) -> None:
        read = rate_of(rate)
        self._size = float(read.get_expiry())  # seconds that a full bucket takes to drain
        self._each = self._size / read.amount
        self._clock = clock
        self._most = most
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_at)

    def wait(self, name: str) -> float:
        """Seconds until that bucket has room for one more; 0 if it has."""
        empty_at = self._empty_at.get(name)
        if empty_at is None:
            return 0.0
        return max(0.0, empty_at + self._each - self._size - self._clock())

    def count(self, name: str) -> None:
        """Put one more into that bucket."""
        now = self._clock()
        self._empty_at[name] = max(self._empty_at.get(name, now), now) + self._each
        self._empty_at.move_to_end(name)
        if len(self._empty_at) > self._most:
            self._empty_at.popitem(last=False)

    def empty(self, name: str) -> None:
        """Forget what was put into that bucket."""
        self._empty_at.pop(name, None)


class Failures:
    """Buckets by address; all that can't be read share one. Arguments are those of `Buckets`."""

    def __init__(
        self,
        rate: str = "60/minute",
        *,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST,
    ) -> None:
        self._buckets = Buckets(rate, clock=clock, most=most)

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, address: str | None) -> float:
        """Seconds until the bucket of an address has room for one more; 0 if it has."""
        return self._buckets.wait(network_of(address))

    def count(self, address: str | None) -> None:
        """Put a failure into the bucket of an address."""
        self._buckets.count(network_of(address))


def rate_of(text: str) -> RateLimitItem:
    """
    Read a rate such as `60/minute`.

    Raises:
        ValueError: the notation is wrong, or it allows nothing.
    """
    try:
        read = parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is no rate; write it like 60/minute") from None
    if read.amount < 1 or read.get_expiry() < 1:
        raise ValueError(f"{text!r} allows nothing")
    return read


def network_of(address: str | None) -> str:
    """What an address counts as; all that can't be read count as one."""
    try:
        read = ip_address(address or "")
    except ValueError:
        return ""
    if not isinstance(read, IPv6Address):
        return str(read)
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return f"{int(read) >> _PREFIX:x}/{_PREFIX}"
