"""
One response, as far as it has arrived on a connection.

All that is known of a response is here, so that a connection has nothing to forget before its next
one. Whoever has it owns the connection until the body's end was taken, or until `release`.

Hot: what a response usually is, is said once for all of them; what differs is set as it comes.
"""

from asyncio import Future
from collections.abc import Callable
from typing import Any, Protocol

import httpx

from .exchange import Headers


class Line(Protocol):
    """The connection, as its answer sees it. `free` takes it back when the answer is over."""

    free: Callable[[Any], None]
    new_future: Callable[[], Future[None]]

    def read_on(self) -> None:
        """Read the socket again, after so much had waited that it was left alone."""
        ...


class Arrival:
    """
    An answer on one of our connections, with what that needs to know of it.

    `pieces` is what has come of its body and waits to be taken.
    """

    status = 0
    """Zero until its head is there."""
    headers: Headers
    complete = False
    """Whether all of it has come, taken or not."""
    error: httpx.TransportError | None = None
    """Why it does not go on."""

    unsent = False
    """Whether some of its request has yet to be sent."""
    bodiless = False
    """Whether no body follows, whatever its headers say."""
    until_close = False
    """Whether it ends with its connection."""
    keeps_alive = False
    """Whether it is over, and another may follow."""
    barren = 0
    """Bytes that have come since the last piece of body."""
    waiting = 0
    """What the pieces cost in memory, in bytes."""
    held_up = False
    """Whether so much waits that its socket is not read."""
    is_patient = False
    """Whether whoever waits does so for all of it."""
    hints = 0
    """How many informational responses have come before it."""
    hint_bytes = 0
    """Of their headers."""

    _waiter: Future[None] | None = None

    def __init__(self, line: Line, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self._line: Line | None = line

    @property
    def over(self) -> bool:
        """Whether its connection was given back."""
        return self._line is None

    @property
    def answered(self) -> bool:
        """Whether a byte of it has come."""
        return self.status > 0 or self.barren > 0

    def take(self) -> bytes | None:
        """
        All of the body that has come, None if nothing has, empty at its end.

        Raises:
            httpx.ReadError: the connection ended before the body did.
            httpx.RemoteProtocolError: the framing of the body is broken.
        """
        pieces = self.pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self.waiting = 0
            if self.held_up:
                self.held_up = False
                assert self._line is not None, "what waits has not ended"
                self._line.read_on()
            return data
        if self._line is None:
            return b""
        if self.error is not None:
            raise self.error
        if not self.complete:
            return None
        self.release()
        return b""

    def news(self) -> Future[None]:
        """For the next thing that happens here. One may wait at a time."""
        assert self._line is not None, "what has ended has no news"
        self.is_patient = False
        waiter = self._waiter = self._line.new_future()
        return waiter

    def rest(self) -> Future[None]:
        """For the end of the body, or as much of it as may wait here."""
        waiter = self.news()
        self.is_patient = True
        return waiter

    def release(self) -> None:
        """Give the connection back: it is closed unless all of this was taken. May be repeated."""
        line, self._line = self._line, None
        if line is not None:
            line.free(line)
            self.pieces = []  # those of the next one are not for whoever had this one

    async def aclose(self) -> None:
        """As `release`."""
        self.release()

    def wake(self) -> None:
        """Something has happened here that whoever waits must know of."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():  # whoever waited may have been cancelled
                waiter.set_result(None)
