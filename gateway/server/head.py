"""
The head of an answer: its status line, its headers, and how its body is framed.

What must stay true: a header ends where its line does, and a body where the head says, whatever an
application puts into them.

Hot: `head_of` runs once a request. It looks at all headers at once: one look-up tells whether their
names have been seen together before, one search whether any of them would begin another line.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

Header = tuple[bytes, bytes]

_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_NO_BODY = frozenset({204, 304})
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Misused(Exception):
    """The application wants something that HTTP or ASGI has no meaning for."""


def head_of(
    status: int, headers: Sequence[Header], *, keep_alive: bool, bodiless: bool
) -> tuple[bytes, int | None, bool]:
    """
    The bytes of a head, the length of the body behind it, and whether the connection outlives both.

    Without a length the body comes in chunks. `bodiless` says that none follows, whatever the
    headers promise: it was asked for the head only. Names are in lower case, as ASGI has it.

    Raises:
        Misused: this can't be sent.
    """
    named = dict(headers)
    _check_names(tuple(named))
    lines = [_status_line(status), *map(b": ".join, headers)]
    text = b"".join(lines)
    if b"\r" in text or b"\n" in text or b"\0" in text:
        raise Misused("A header can't hold the end of its line.")
    if (connection := named.get(b"connection")) is not None and _says_close(connection):
        keep_alive = False
    elif not keep_alive:
        lines.append(b"connection: close")
    length = _length(named)
    if bodiless or (length is None and status in _NO_BODY):
        length = 0
    elif length is None and b"transfer-encoding" not in named:
        lines.append(b"transfer-encoding: chunked")
    lines.append(b"\r\n")
    return b"\r\n".join(lines), length, keep_alive


def _length(named: dict[bytes, bytes]) -> int | None:
    told, coding = named.get(b"content-length"), named.get(b"transfer-encoding")
    if coding is not None and (told is not None or coding.lower() != b"chunked"):
        raise Misused("A body has one framing: a length, or chunks.")
    if told is None:
        return None
    if not told.isdigit():
        raise Misused("A content-length is a number.")
    return int(told)


def _says_close(connection: bytes) -> bool:
    return b"close" in [token.strip() for token in connection.lower().split(b",")]


@lru_cache(maxsize=256)  # answers of one kind have the same names
def _check_names(names: tuple[bytes, ...]) -> None:
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise Misused(f"{name!r} can't be the name of a header.")


@lru_cache(maxsize=512)
def _status_line(status: int) -> bytes:
    if not 200 <= status <= 599:
        raise Misused(f"{status!r} can't be the status of an answer.")
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}".encode()
