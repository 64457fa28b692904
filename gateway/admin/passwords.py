"""
Passwords of operators, kept as argon2id hashes.

A hash takes some 20 ms of a core and 19 MiB by design, so it is made in a thread, one at a time:
signing in may wait, requests may not. For a name that nobody has the same work is done, so that
the time of a refusal does not say which names exist.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from .errors import SignInThrottled

MEMORY = 19 * 1024
"""KiB; with two passes and one lane this is OWASP's recommendation."""
PASSES = 2
MAX_WAITING = 50
"""Hashes that are made or wait for their turn, in one process."""

NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgb3duIHNhbA$" + "A" * 43
"""No password is known to have this hash; it costs what every other costs."""

_Result = TypeVar("_Result", str, bool)


class Passwords:
    """Hashes passwords and compares them, off the event loop."""

    def __init__(self) -> None:
        hasher = Argon2Hasher(memory_cost=MEMORY, time_cost=PASSES, parallelism=1)
        self._hasher = PasswordHash((hasher,))
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def hash(self, password: SecretStr) -> str:
        """
        The form in which a password is kept.

        Raises:
            SignInThrottled: too many wait already.
        """
        return await self._in_turn(lambda: self._hasher.hash(password.get_secret_value()))

    async def is_right(self, password: SecretStr, kept: str | None) -> bool:
        """
        Whether this is the password that is kept; nobody's is None, and none is right.

        Raises:
            SignInThrottled: too many wait already.
        """
        given = password.get_secret_value()
        is_same = await self._in_turn(lambda: self._hasher.verify(given, kept or NOBODYS))
        return is_same and kept is not None

    async def _in_turn(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= MAX_WAITING:
            raise SignInThrottled(retry_after=1.0)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
