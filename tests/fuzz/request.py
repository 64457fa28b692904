"""What clients send over the wire: whatever it is, no two readers of it could disagree."""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.server.bounds import MAX_AHEAD
from gateway.server.framing import MAX_HEADERS
from tests.fuzz.cuts import cut, salted
from tests.support.smuggling import CASES
from tests.support.wire import Wire, statuses

_POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
_STATUSES = {100, 204, 400, 408, 431, 503}
_NAME = re.compile(rb"[!#$%&'*+.^`|~0-9a-z-]+")
_SEEDS = (
    _POST + b"Content-Length: 2\r\n\r\n{}",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
    _POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    _POST + b"Connection: close\r\n\r\n" + _POST + b"\r\n",
    (_POST + b"\r\n") * 3,
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST http://a/x HTTP/1.1\r\nHost: A\r\n\r\n",
    _POST + b"X_Forwarded_For: 1.2.3.4\r\nX: a\xff\t b \r\n\r\n",
    _POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\r\n",
)
SEEDS = salted(*_SEEDS, *(each for each in CASES.values() if len(each) < 2048))


class _Told(NamedTuple):
    """What the application saw of a connection, and what its client was answered."""

    paths: list[str]
    headers: list[list[tuple[bytes, bytes]]]
    statuses: Sequence[int]
    is_closed: bool


def fuzz_request(data: bytes) -> None:
    """
    The same requests are seen however they are cut, each with one host, one framing and nothing
    in its headers that ends a line. Who is refused is heard no more.
    """
    sent, pieces = cut(data)
    told = asyncio.run(_told(pieces))
    assert told == asyncio.run(_told([sent])), "different for its cutting"
    assert {*told.statuses} <= _STATUSES
    assert len(told.paths) <= MAX_AHEAD + 1
    refusals = [each for each in told.statuses if each >= 400]
    assert len(refusals) <= 1
    assert not refusals or told.is_closed
    assert not refusals or told.statuses[-1] == refusals[0]
    for headers in told.headers:
        _check(headers)


def _check(headers: list[tuple[bytes, bytes]]) -> None:
    assert len(headers) <= MAX_HEADERS
    names = [name for name, _ in headers]
    framing = [name for name in names if name in (b"content-length", b"transfer-encoding")]
    assert len(framing) <= 1, "framed twice"
    assert names.count(b"host") <= 1
    for name, value in headers:
        assert _NAME.fullmatch(name), name
        assert not {*b"\r\n\0"} & {*value}, value


async def _told(pieces: Sequence[bytes]) -> _Told:
    wire = Wire()
    for piece in pieces:
        wire.say(piece)
    await wire.settled()
    told = _Told(wire.app.paths, wire.app.headers, statuses(wire.heard), wire.is_closed)
    wire.leave()
    await wire.settled()
    return told
