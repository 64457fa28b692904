"""
The head of an answer: its status line, its headers, and how its body is framed.

What must stay true: a header ends where its line does, and a body where the head says, whatever an
application puts into them.

Hot: `head_of` runs once a request. Answers of one kind have the same names in the same order, so
that what these say of them is told by one look-up, and only the values are looked at anew.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

Header = tuple[bytes, bytes]

_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_CR, _LF, _NUL = b"\r\n\0"  # as numbers they are found three times as fast
_NO_BODY = frozenset({204, 304})
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Misused(Exception):
    """The application wants something that HTTP or ASGI has no meaning for."""


def head_of(
    status: int,
    headers: Sequence[Header],
    *,
    keep_alive: bool,
    bodiless: bool,
    chunks: bool = True,
) -> tuple[bytes, int | None, bool]:
    """
    The bytes of a head, the length of the body behind it, and whether the connection outlives both.

    Without a length the body comes in chunks, or for a client that does not know them it ends with
    the connection, which must not be kept alive then. `bodiless` says that none follows, whatever
    the headers promise: it was asked for the head only. Names are in lower case, as ASGI has it.

    Raises:
        Misused: this can't be sent.
    """
    names, values = zip(*headers, strict=True) if headers else ((), ())
    template, length_at, connection_at = _shape(names)
    text = b"".join(values)
    if _CR in text or _LF in text or _NUL in text:
        raise Misused("A header can't hold the end of its line.")
    content = template % (_status_line(status), *values)
    if connection_at is not None and _says_close(values[connection_at]):
        keep_alive = False
    elif not keep_alive:
        content += b"connection: close\r\n"
    length = None if length_at is None else _number(values[length_at])
    if bodiless or (length is None and status in _NO_BODY):
        length = 0
    elif length is None and chunks:
        content += b"transfer-encoding: chunked\r\n"
    return content + b"\r\n", length, keep_alive


class _Shape(NamedTuple):
    """What the names of all headers say of a head: the rest of it, and where some values are."""

    template: bytes
    length_at: int | None
    connection_at: int | None


@lru_cache(maxsize=256)
def _shape(names: tuple[bytes, ...]) -> _Shape:
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise Misused(f"{name!r} can't be the name of a header.")
    if names.count(b"content-length") > 1:
        raise Misused("A body has one length.")
    # An application may name its coding, and ASGI has it ignored.
    lines = [
        b"%.0b" if name == b"transfer-encoding" else name.replace(b"%", b"%%") + b": %b\r\n"
        for name in names
    ]
    places = {name: place for place, name in enumerate(names)}
    return _Shape(
        template=b"%b\r\n" + b"".join(lines),
        length_at=places.get(b"content-length"),
        connection_at=places.get(b"connection"),
    )


@lru_cache(maxsize=512)
def _status_line(status: int) -> bytes:
    if not 200 <= status <= 599:
        raise Misused(f"{status!r} can't be the status of an answer.")
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}".encode()


def _number(length: bytes) -> int:
    if not length.isdigit():
        raise Misused("A content-length is a number.")
    return int(length)


def _says_close(connection: bytes) -> bool:
    return b"close" in [token.strip() for token in connection.lower().split(b",")]
