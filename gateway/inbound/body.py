"""
A request's body, within its bounds.

A body that is too large is refused as soon as that is known: by its announced length, before any
of it is read, else with the first byte too many.
"""

import asyncio
from collections.abc import Iterable

from starlette.types import Receive

from ..contract.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, UnsupportedMediaType
from ..pipeline import ClientHungUp, Interrupt

MAX_DIGITS = 18
"""Of a content-length that is looked at; int() itself has a bound, and raises beyond it."""


async def read_body(
    receive: Receive,
    headers: Iterable[tuple[bytes, bytes]],
    interrupt: Interrupt,
    *,
    max_body: int,
    patience: float,
) -> bytes:
    """
    Read it whole. `patience` is seconds between two pieces: where the next one does not come,
    `interrupt` ends the request as BodyTooSlow.

    Raises:
        BodyTooLarge: it has, or says that it has, more than `max_body` bytes.
        UnsupportedMediaType: it is compressed.
        InvalidRequest: it announces a length that is no number.
        ClientHungUp: the client left before it was complete.
    """
    _check(headers, max_body)
    piece, more = await _next(receive, interrupt, patience)
    pieces = [piece]
    size = len(piece)
    while more and size <= max_body:
        piece, more = await _next(receive, interrupt, patience)
        pieces.append(piece)
        size += len(piece)
    if size > max_body:
        raise _too_large(max_body)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _check(headers: Iterable[tuple[bytes, bytes]], max_body: int) -> None:
    for name, value in headers:
        if name == b"content-length":
            _check_length(value, max_body)
        if name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMediaType("The body must not be compressed.")


def _check_length(announced: bytes, max_body: int) -> None:
    if not announced.isdigit():
        raise InvalidRequest("The content-length is not a number.")
    if len(announced) > MAX_DIGITS or int(announced) > max_body:
        raise _too_large(max_body)


async def _next(receive: Receive, interrupt: Interrupt, patience: float) -> tuple[bytes, bool]:
    """The next piece, and whether there are more."""
    # A bare timer: asyncio.timeout costs ten times as much, for a body that is mostly there.
    timer = asyncio.get_running_loop().call_later(patience, _give_up, interrupt)
    try:
        message = await receive()
    finally:
        timer.cancel()
    if message["type"] == "http.disconnect":
        raise ClientHungUp
    return message.get("body", b""), message.get("more_body", False)


def _give_up(interrupt: Interrupt) -> None:
    interrupt(BodyTooSlow("The request's body did not arrive in time."))


def _too_large(max_body: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body is larger than {max_body} bytes.")
