"""
One upstream answer as it arrives: read, judged and counted, never changed.

An answer that is a stream succeeds only with a finish reason for every choice; whatever ends it
otherwise is raised as a `ProviderError`, after the events before it have been handed out.

Hot: `EventStream.next` runs once a read, its loop once an event. Nothing here allocates a task,
a timer or a log line.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from ..contract.errors import ProviderDisconnected, ProviderError, ProviderGarbled
from ..contract.provider import Reader, Seen, Usage
from ..contract.sse import SSEDecoder
from .mould import Mould

READ_OUT = 1.0
"""Seconds to wait for the end of the transfer after the end of the answer."""

MAX_BARREN = 4096
"""Events of a stream that are held back before its first content: an empty one is a byte of the
upstream's, and a hundred times as much of memory."""

Piece = tuple[bytes, Seen]
"""An event's bytes as they came, and what it said."""


class Tally:
    """
    What of an answer has passed. `usage` is the upstream's own count, the latest that it gave;
    `pieces` counts deltas with text, for upstreams that give none.
    """

    content = False
    pieces = 0
    usage: Usage | None = None
    finish_reasons: tuple[str, ...] = ()

    def add(self, seen: Seen) -> None:
        """Count one event, or one whole answer."""
        self.pieces += seen.pieces
        if seen.content:
            self.content = True
        if seen.usage is not None:
            self.usage = seen.usage
        if seen.finish_reasons:
            self.finish_reasons += seen.finish_reasons


class Events(Protocol):
    """The events of an answer, from one upstream or from several."""

    @property
    def done(self) -> bool:
        """Whether the answer is whole, and all of it handed out."""
        ...

    async def next(self, mould: Mould | None = None, /) -> list[Piece]:
        """
        The next events, at least one; empty once the answer is complete, else it raises. One that
        fits the mould may be handed out unread, with what the mould says that it says.
        """
        ...

    def unwatch(self) -> None:
        """No deadline runs any more."""
        ...

    async def read_out(self) -> None:
        """Wait for the end of the transfer after the end of the answer."""
        ...


class EventStream:
    """The events of one answer, in the batches in which they arrived."""

    def __init__(
        self, chunks: AsyncIterator[bytes], reader: Reader, tally: Tally, most: int = 0
    ) -> None:
        """`most` is the deltas with text, each a token at least, that it may have; 0: any."""
        self._chunk = chunks.__anext__
        self._most = most or sys.maxsize
        self._reader = reader
        self._tally = tally
        self._waiting: Callable[[], None] = _nothing
        self._waited: Callable[[], None] = _nothing
        self._decoder = SSEDecoder()
        self._failure: ProviderError | None = None
        self.done = False
        """Whether the answer is whole, and all of it handed out."""

    def watch(self, waiting: Callable[[], None], waited: Callable[[], None]) -> None:
        """
        From now on call `waiting` before each read and `waited` after it, so that a deadline
        runs only while it is the upstream that keeps us waiting.
        """
        self._waiting, self._waited = waiting, waited

    def unwatch(self) -> None:
        """No deadline runs any more."""
        self._waited()
        self._waiting = self._waited = _nothing

    async def until_content(self, max_held: int) -> list[Piece]:
        """
        All events up to and with the first batch that has content.

        Raises:
            ProviderError: the answer ended, or `max_held` bytes or `MAX_BARREN` events passed,
                without content.
        """
        held: list[Piece] = []
        size = 0
        while not self._tally.content:
            batch = await self.next()
            if not batch:
                raise ProviderGarbled("a stream without content", code="upstream_incomplete")
            held += batch
            size += sum(len(raw) for raw, _ in batch)
            if size > max_held or len(held) > MAX_BARREN:
                raise ProviderGarbled("no content in time", code="upstream_response_too_large")
        return held

    async def next(self, mould: Mould | None = None, /) -> list[Piece]:
        """
        The next events, at least one; an empty list once the answer is complete. A read that is
        one event, and fits the mould, is handed out unread.

        Raises:
            ProviderError: the answer ended otherwise. What came before it was handed out.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self.done:
                return []
            self._waiting()
            try:
                chunk = await self._chunk()
            except StopAsyncIteration:
                self._waited()
                return self._end()
            self._waited()
            if (
                mould is not None
                and self._tally.pieces < self._most
                and not self._decoder.held
                and mould.fits(chunk)
            ):
                self._tally.pieces += 1
                return [(chunk, mould.seen)]
            if pieces := self._read(chunk):
                return pieces

    def _read(self, chunk: bytes) -> list[Piece]:
        """The events that are whole now, up to one that ends the stream."""
        pieces: list[Piece] = []
        try:
            events = self._decoder.feed(chunk)
        except ProviderError as error:
            self._failure = error
            return pieces
        for raw, data in events:
            if data is None:
                pieces.append((raw, _SILENT))
                continue
            seen = self._reader.read(data)
            if seen.error is not None:  # the event is not handed out, so its content is not either
                self._failure = seen.error
                break
            if self._tally.pieces + seen.pieces > self._most:
                self._failure = ProviderGarbled(
                    "more output than it was allowed", code="upstream_exceeded_max_tokens"
                )
                break
            self._tally.add(seen)
            if seen.done:
                self._finish(raw, seen, pieces)
                break
            pieces.append((raw, seen))
        return pieces

    def _finish(self, raw: bytes, seen: Seen, pieces: list[Piece]) -> None:
        if self._reader.complete:
            self.done = True
            pieces.append((raw, seen))
        else:
            self._failure = ProviderGarbled(
                "the stream was said to be done without a finish reason",
                code="upstream_incomplete",
            )

    async def read_out(self) -> None:
        """
        Wait for the end of the transfer after the end of the answer: only then can the connection
        be used again. Nobody waits for it but the connection.
        """
        try:
            async with asyncio.timeout(READ_OUT):
                while True:
                    await self._chunk()
        except (TimeoutError, ProviderError):
            return  # the connection is closed instead, which costs the next request a connect
        except StopAsyncIteration:
            return

    def _end(self) -> list[Piece]:
        """The upstream closed without an end marker: complete only if all choices finished."""
        if not self._reader.complete or self._decoder.pending:
            raise ProviderDisconnected("the stream ended without a finish reason")
        self.done = True
        return [(_DONE, Seen(done=True))]


def _nothing() -> None:
    """Before it is watched."""


_SILENT = Seen()
_DONE = b"data: [DONE]\n\n"
