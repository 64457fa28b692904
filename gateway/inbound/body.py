"""
A request's body, within its bounds.

A body that is too large is refused as soon as that is known: by its announced length, before any
of it is read, else with the first byte too many. One that comes too slowly holds nobody up for
long: neither by a pause nor by trickling.

Hot: `body_at_hand` runs once a request; nearly every body is there whole when it is asked for, and
costs no look at the clock, no timer and nothing to wait with.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope

from ..contract.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, UnsupportedMediaType
from ..contract.head import Head
from ..pipeline import BODY, ClientHungUp, Interrupt

MAX_DIGITS = 18
"""Of a content-length that is looked at; int() itself has a bound, and raises beyond it."""
GRACE = 10.0
"""Seconds in which a body may come as slowly as it likes."""

_NOTHING: Mapping[str, Any] = {}


def body_at_hand(scope: Scope, head: Head, max_body: int) -> bytes | None:
    """
    The whole body, where the server has it already and can tell. None to have it read.

    Raises:
        GatewayError: as for `read_body`.
    """
    take = scope.get("state", _NOTHING).get(BODY)
    body: bytes | None = None if take is None else take()
    if body is not None:
        if len(body) > max_body:
            raise too_large(max_body)
        if b"content-encoding" in head:
            check_announced(head, max_body)
    return body


async def read_body(
    receive: Receive,
    head: Head,
    interrupt: Interrupt,
    *,
    max_body: int,
    patience: float,
    min_rate: int = 0,
) -> bytes:
    """
    Read it whole. `patience` is seconds between two pieces: where the next one does not come,
    `interrupt` ends the request as BodyTooSlow. `min_rate` is bytes a second, on the whole.

    Raises:
        BodyTooLarge: it has, or says that it has, more than `max_body` bytes.
        BodyTooSlow: it trickles.
        UnsupportedMediaType: it is compressed.
        InvalidRequest: it announces a length that is no number.
        ClientHungUp: the client left before it was complete.
    """
    check_announced(head, max_body)
    piece, more = await _next(receive, interrupt, patience)
    size = len(piece)
    pieces = [piece]
    now = asyncio.get_running_loop().time
    graced = now() + GRACE
    while more and size <= max_body:
        piece, more = await _next(receive, interrupt, patience)
        pieces.append(piece)
        size += len(piece)
        if more and size < min_rate * (now() - graced):
            raise too_slow()
    if size > max_body:
        raise too_large(max_body)
    return b"".join(pieces)


def check_announced(head: Head, max_body: int) -> None:
    """
    What a request's headers say of its body.

    Raises:
        GatewayError: it will not be read.
    """
    for length in head.get(b"content-length", ()):
        _check_length(length, max_body)
    for coding in head.get(b"content-encoding", ()):
        if coding.lower() != b"identity":
            raise UnsupportedMediaType("The body must not be compressed.")


def _check_length(announced: bytes, max_body: int) -> None:
    if not announced.isdigit():
        raise InvalidRequest("The content-length is not a number.")
    if len(announced) > MAX_DIGITS or int(announced) > max_body:
        raise too_large(max_body)


async def _next(receive: Receive, interrupt: Interrupt, patience: float) -> tuple[bytes, bool]:
    """The next piece, and whether there are more."""
    timer = asyncio.get_running_loop().call_later(patience, _give_up, interrupt)
    try:
        message = await receive()
    finally:
        timer.cancel()
    if message["type"] == "http.disconnect":
        raise ClientHungUp
    return message.get("body", b""), message.get("more_body", False)


def _give_up(interrupt: Interrupt) -> None:
    interrupt(too_slow())


def too_slow() -> BodyTooSlow:
    """The refusal of a body that does not come."""
    return BodyTooSlow("The request's body did not arrive in time.")


def too_large(max_body: int) -> BodyTooLarge:
    """The refusal of a body that is too large."""
    return BodyTooLarge(f"The request's body is larger than {max_body} bytes.")
