"""
From a host's name to its addresses, without ever holding up the event loop.

The system's resolver blocks, sometimes for half a minute, so each question is put in a thread of
its own: a few at a time, one a name, and none that a shutdown would wait for. Whoever asks waits
`resolve_timeout` at most. An answer is used for half a minute or so; when a later one does not
come, or names nothing, the last good one stands in for it until it is `resolve_stale` old. A
question that failed is not repeated for a second.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from random import Random
from threading import Thread

import httpx

FRESH = 30.0
"""Seconds that an answer is used, a fifth more or less: names of one start don't expire at once."""
PAUSE = 1.0
"""Seconds after a failure before the name is asked for again."""
MAX_ASKING = 16
"""Questions under way at once: threads that a resolver which hangs can take."""
MAX_NAMES = 1024
"""Names remembered; there is about one a provider."""
MAX_ADDRESSES = 8
"""Addresses of one name that are of use: each is tried for its share of the time to connect."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN})

Resolve = Callable[[str], Iterable[str]]
"""
The addresses of a host, best first; it may block.

Raises `OSError` or `UnicodeError` where there are none.
"""


class NoRoom(httpx.PoolTimeout):
    """This process or its system, not the upstream, has no room for another connection."""


def is_ours(error: BaseException | None) -> bool:
    """Whether the system has said that it lacks files, memory or threads."""
    return isinstance(error, OSError) and error.errno in _OURS


def resolve(host: str) -> list[str]:
    """Ask the system, which also knows /etc/hosts and the order of RFC 6724."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(slots=True)
class _Known:
    """What is known of a name; `asking` is done when the present question is answered."""

    addresses: tuple[str, ...] = ()
    got_at: float = -inf
    ask_at: float = -inf
    failure: Exception | None = None
    asking: asyncio.Future[None] | None = None
    patience_ends: float = 0.0


class Resolver:
    """
    `timeout` and `stale` are the settings' `resolve_timeout` and `resolve_stale`; `clock` counts
    seconds and never goes back. To be used in one running loop.
    """

    def __init__(
        self,
        *,
        timeout: float,
        stale: float,
        clock: Callable[[], float],
        chance: Random,
        resolve: Resolve = resolve,
    ) -> None:
        self._timeout = timeout
        self._stale = stale
        self._clock = clock
        self._chance = chance
        self._resolve = resolve
        self._known: dict[str, _Known] = {}
        self._asking = 0

    async def addresses(self, host: str) -> tuple[str, ...]:
        """
        Where a host is, best first: at least one address.

        Raises:
            httpx.ConnectError: nobody knows, or nobody said so in time; caused by what went wrong.
            NoRoom: there was none to ask.
        """
        known = self._known.get(host) or self._remember(host)
        if self._clock() >= known.ask_at:
            await self._ask(host, known)
        if known.addresses and self._clock() - known.got_at < self._stale:
            return known.addresses
        failure = known.failure or TimeoutError("the resolver did not answer in time")
        kind = NoRoom if is_ours(failure) else httpx.ConnectError
        raise kind(f"no address: {failure}") from failure

    def _remember(self, host: str) -> _Known:
        if len(self._known) >= MAX_NAMES:
            self._known = {name: each for name, each in self._known.items() if each.asking}
        known = self._known[host] = _Known()
        return known

    async def _ask(self, host: str, known: _Known) -> None:
        """Wait for the question that is under way, or for a new one, but not beyond patience."""
        if known.asking is None and self._asking < MAX_ASKING:
            self._put(host, known)
        patience = known.patience_ends - self._clock()
        if known.asking is not None and patience > 0:
            await asyncio.wait((known.asking,), timeout=patience)

    def _put(self, host: str, known: _Known) -> None:
        loop = asyncio.get_running_loop()
        known.asking = loop.create_future()
        known.patience_ends = self._clock() + self._timeout
        known.failure = None
        self._asking += 1
        question = Thread(
            target=self._wait_for_answer, args=(host, known, loop), name="resolver", daemon=True
        )
        try:
            question.start()
        except RuntimeError as error:  # the system has no thread left
            self._answered(known, (), OSError(errno.EAGAIN, str(error)))

    def _wait_for_answer(self, host: str, known: _Known, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread."""
        addresses: tuple[str, ...] = ()
        failure: Exception | None = None
        try:
            addresses = tuple(dict.fromkeys(self._resolve(host)))[:MAX_ADDRESSES]
        except (OSError, UnicodeError) as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._answered, known, addresses, failure)

    def _answered(
        self, known: _Known, addresses: tuple[str, ...], failure: Exception | None
    ) -> None:
        self._asking -= 1
        now = self._clock()
        if addresses:
            known.addresses, known.got_at = addresses, now
            known.ask_at = now + FRESH * self._chance.uniform(0.8, 1.2)
        else:
            known.failure = failure or OSError("the name has no address")
            known.ask_at = now + PAUSE
        assert known.asking is not None, "an answer has a question"
        known.asking.set_result(None)
        known.asking = None
