"""
Tells a client that has only finished speaking from one that is gone.

Both look the same until something is sent: one that is gone refuses it. So something is sent that
every client must bear, and the kernel is asked now and then what became of it. A client that is
gone is noticed within a round trip or two, and one that still reads gets its answer.
"""

import asyncio
import socket
from collections.abc import Callable

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Before an answer: a client must take any number of these (RFC 9110, 15.2)."""
COMMENT = b"3\r\n:\n\n\r\n"
"""Within a chunked stream of events, between two of them: a comment."""
FIRST_LOOK = 0.01
"""Seconds until the kernel is asked; half as many again each time."""
LONGEST = 1.0

_CLOSED = 7
"""The kernel's TCP_CLOSE: the peer has refused what was sent."""


class Probe:
    """Looks after one connection for as long as `is_wanted`, and aborts it if its peer is gone."""

    def __init__(self, transport: asyncio.Transport, is_wanted: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_wanted = is_wanted
        self._loop = asyncio.get_running_loop()
        self._pause = FIRST_LOOK
        self._timer = self._loop.call_later(self._pause, self._look)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        if not self._is_wanted():
            return
        if _is_refused(self._transport.get_extra_info("socket")):
            self._transport.abort()
            return
        self._pause = min(1.5 * self._pause, LONGEST)
        self._timer = self._loop.call_later(self._pause, self._look)


def _is_refused(connection: socket.socket) -> bool:
    state: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return state[0] == _CLOSED
