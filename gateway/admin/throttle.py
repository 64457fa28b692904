"""
How often somebody may try to sign in: counted for each address, and for each name.

Both are counted before a password is looked at, so that guessing costs the gateway little. What is
counted drains at an even pace, and only so much of it is kept, whatever names and addresses come.
It is this process's own: R replicas allow R times as many.
"""

import time
from collections.abc import Callable

from ..access import Buckets, Failures
from .errors import SignInThrottled

EACH_ADDRESS = "20/minute"
EACH_NAME = "5/minute"


class Throttle:
    """Takes attempts until there are too many of them. The rates are those of `Buckets`."""

    def __init__(
        self,
        each_address: str = EACH_ADDRESS,
        each_name: str = EACH_NAME,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = Failures(each_address, clock=clock)
        self._names = Buckets(each_name, clock=clock)

    def attempt(self, address: str, name: str) -> None:
        """
        Count an attempt. Names of an address that makes too many are not counted, nor kept.

        Raises:
            SignInThrottled: too many were made.
        """
        if wait := self._addresses.wait(address):
            raise SignInThrottled(retry_after=wait)
        self._addresses.count(address)
        if wait := self._names.wait(name):
            raise SignInThrottled(retry_after=wait)
        self._names.count(name)

    def forgive(self, name: str) -> None:
        """Somebody who knew the password need not wait for the attempts that others made."""
        self._names.empty(name)
