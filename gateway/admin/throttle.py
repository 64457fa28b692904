"""
How often somebody may try to sign in: counted for each address, and for each name.

Both are counted before a password is looked at, so that guessing costs the gateway little. An
address of IPv6 counts as its /64, which is what one subscriber has. The windows are this
process's own: R replicas allow R times as many.
"""

from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from .errors import SignInThrottled

EACH_ADDRESS = RateLimitItemPerMinute(20)
EACH_NAME = RateLimitItemPerMinute(5)


class Throttle:
    """Takes attempts until there are too many of them in a moving window."""

    def __init__(
        self, each_address: RateLimitItem = EACH_ADDRESS, each_name: RateLimitItem = EACH_NAME
    ) -> None:
        self._each_address = each_address
        self._each_name = each_name
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def attempt(self, address: str, name: str) -> None:
        """
        Count an attempt. Names of an address that makes too many are not counted, nor kept.

        Raises:
            SignInThrottled: too many were made.
        """
        asked = (
            (self._each_address, "address", network_of(address)),
            (self._each_name, "name", name),
        )
        for item, kind, who in asked:
            if not await self._limiter.hit(item, kind, who):
                raise SignInThrottled(retry_after=float(item.get_expiry()))

    async def forgive(self, name: str) -> None:
        """Somebody who knew the password need not wait for the attempts that others made."""
        await self._limiter.clear(self._each_name, "name", name)


def network_of(address: str) -> str:
    """What attempts from an address are counted under; any text will do."""
    try:
        read = ip_address(address)
    except ValueError:
        return address
    if isinstance(read, IPv6Address) and read.ipv4_mapped is None:
        return str(ip_network((read, 64), strict=False))
    return address
