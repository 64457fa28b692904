"""
The heads of requests: a beginning that a target's requests share, and an end that each has.

Framing is ours, whatever a caller's headers say, and nothing that would end a line goes out.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain

import httpx

from .exchange import Header

FRAMING = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive"))
_EMPTY_BODY_HAS_LENGTH = frozenset(("POST", "PUT", "PATCH"))
_HEADER = b"%b: %b\r\n"
_BREAKS = b"\r\n\0"
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


def fields(headers: Sequence[Header]) -> bytes:
    """
    Header lines, but for what is ours to say.

    Raises:
        httpx.LocalProtocolError: one is more than a line.
    """
    flat = tuple(chain.from_iterable(headers))
    if not _is_without_framing(flat[::2]):
        return fields([each for each in headers if each[0].lower() not in FRAMING])
    count = len(flat) // 2
    lines = _HEADER * count % flat
    if len(lines.translate(None, _BREAKS)) != len(lines) - 2 * count:
        raise httpx.LocalProtocolError("a header with a line break or NUL in it")
    return lines


def end(length: int) -> bytes:
    """What ends the head of a request with a body of so many bytes."""
    return b"content-length: %d\r\n\r\n" % length


def has_length(method: str, content: bytes) -> bool:
    """Whether a request tells how long its body is."""
    return bool(content) or method in _EMPTY_BODY_HAS_LENGTH


@lru_cache(maxsize=64)  # each attempt asks with the same few names
def _is_without_framing(names: tuple[bytes, ...]) -> bool:
    return FRAMING.isdisjoint(name.lower() for name in names)
