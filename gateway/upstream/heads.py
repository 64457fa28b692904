"""
The heads of requests: a beginning that a target's requests share, and an end that each has.

Framing is ours, whatever a caller's headers say, and nothing that would end a line goes out.
"""

import re
from collections.abc import Iterable

import httpx

from .exchange import Header

FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive"))
_EMPTY_BODY_HAS_LENGTH = frozenset(("POST", "PUT", "PATCH"))
_LINE = re.compile(rb"[A-Z]+ [\x21-\x7e]+ HTTP/1\.1\r\n")


def beginning(method: str, url: httpx.URL, headers: Iterable[Header]) -> bytes:
    """
    The request line and headers, `host` among them.

    Raises:
        httpx.LocalProtocolError: it cannot be sent as it is.
    """
    line = b"%b %b HTTP/1.1\r\n" % (method.encode(), url.raw_path)
    if _LINE.fullmatch(line) is None:
        raise httpx.LocalProtocolError("a method or path that cannot be sent")
    pairs = list(headers)
    if all(name.lower() != b"host" for name, _ in pairs):
        pairs.append((b"host", url.netloc))
    return line + fields(pairs)


def fields(headers: Iterable[Header]) -> bytes:
    """
    Header lines.

    Raises:
        httpx.LocalProtocolError: one is more than a line.
    """
    lines = [b"%b: %b\r\n" % each for each in headers if each[0].lower() not in FRAMING]
    joined = b"".join(lines)
    breaks = len(lines)
    if joined.count(b"\r") != breaks or joined.count(b"\n") != breaks or b"\0" in joined:
        raise httpx.LocalProtocolError("a header with a line break or NUL in it")
    return joined


def end(length: int) -> bytes:
    """What ends the head of a request with a body of so many bytes."""
    return b"content-length: %d\r\n\r\n" % length


def has_length(method: str, content: bytes) -> bool:
    """Whether a request tells how long its body is."""
    return bool(content) or method in _EMPTY_BODY_HAS_LENGTH
