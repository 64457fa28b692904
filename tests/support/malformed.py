"""
Answers that are none: what a broken or hostile upstream may send instead of HTTP/1.1.

`BROKEN` breaks the protocol, `CUT` ends before it is whole; both start where the answer should.
"""

from typing import Final

from tests.support.faulty import chunked_head

_HEAD: Final = chunked_head()
_OK: Final = b"HTTP/1.1 200 OK\r\n"


def _answer(*headers: bytes, body: bytes = b"hi") -> bytes:
    return _OK + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def _status(line: bytes) -> bytes:
    return line + b"\r\ncontent-length: 2\r\n\r\nhi"


_HEADS: Final = {
    "no http": b"hello there\r\n\r\n",
    "http/0.9": b"<html></html>",
    "a version that does not exist": _status(b"HTTP/0.9 200 OK"),
    "http/2 in words": _status(b"HTTP/2.0 200 OK"),
    "http/2 in frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a protocol in lower case": _status(b"http/1.1 200 OK"),
    "an alert of tls": b"\x15\x03\x01\x00\x02\x02\x46",
    "a greeting of ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a greeting of smtp": b"220 mail.example ESMTP\r\n",
    "a request": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "a space before all": _status(b" HTTP/1.1 200 OK"),
    "a status out of range": _status(b"HTTP/1.1 999 Odd"),
    "a status below all": _status(b"HTTP/1.1 099 Odd"),
    "a status of two digits": _status(b"HTTP/1.1 20 OK"),
    "a status of four digits": _status(b"HTTP/1.1 2000 OK"),
    "a negative status": _status(b"HTTP/1.1 -200 OK"),
    "a status that is no number": _status(b"HTTP/1.1 2e2 OK"),
    "no status": b"HTTP/1.1 \r\n\r\n",
    "no space before the status": _status(b"HTTP/1.1200 OK"),
    "two spaces before the status": _status(b"HTTP/1.1  200 OK"),
    "a reason without end": b"HTTP/1.1 200 " + b"O" * 70_000,
    "lines that end with LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    "a bad header": b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    "a header with a NUL": _answer(b"a: \0"),
    "a name with a NUL": _answer(b"a\0b: c"),
    "a name with a space": _answer(b"a b: c"),
    "a space before the colon": _answer(b"content-length : 2"),
    "no name": _answer(b": a"),
    "a folded header": _answer(b"a: b\r\n c", b"content-length: 2"),
    "a lonely CR": _answer(b"a: b\rc", b"content-length: 2"),
    "a header of 1 MB": _answer(b"a: " + b"b" * 1_000_000),
    "10,000 headers": _answer(*[b"a: b"] * 10_000),
    "257 headers": _answer(*[b"a: b"] * 257),
    "switching protocols": b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhi",
    "too many informational responses": b"HTTP/1.1 102 Wait\r\n\r\n" * 9,
    "an informational response with a body": (
        b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nhello" + _answer(b"content-length: 2")
    ),
}
_FRAMING: Final = {
    "two lengths": _answer(b"content-length: 2", b"content-length: 3"),
    "the same length twice": _answer(b"content-length: 2", b"content-length: 2"),
    "a list of lengths": _answer(b"content-length: 2, 2"),
    "a length that is none": _answer(b"content-length: two"),
    "an empty length": _answer(b"content-length: "),
    "a negative length": _answer(b"content-length: -2"),
    "a length with a sign": _answer(b"content-length: +2"),
    "a length in hex": _answer(b"content-length: 0x2"),
    "a length beyond 64 bits": _answer(b"content-length: 18446744073709551616"),
    "length and chunks": _answer(
        b"content-length: 2", b"transfer-encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunks and length": _answer(
        b"transfer-encoding: chunked", b"content-length: 2", body=b"0\r\n\r\n"
    ),
    "a foreign transfer-encoding": _answer(b"transfer-encoding: gzip"),
    "an invented transfer-encoding": _answer(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "no transfer-encoding": _answer(b"transfer-encoding: ", body=b"0\r\n\r\n"),
    "a hidden transfer-encoding": _answer(b"transfer-encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "two transfer-encodings": _answer(b"transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks of chunks": _answer(b"transfer-encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunks twice": _answer(*[b"transfer-encoding: chunked"] * 2, body=b"0\r\n\r\n"),
}
_CHUNKS: Final = {
    "a chunk size that is none": b"zz\r\nhi\r\n0\r\n\r\n",
    "no chunk size": b"\r\nhi\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": b"f" * 17 + b"\r\nhi\r\n",
    "a negative chunk size": b"-2\r\nhi\r\n0\r\n\r\n",
    "a chunk size with a sign": b"+2\r\nhi\r\n0\r\n\r\n",
    "a chunk size with 0x": b"0x2\r\nhi\r\n0\r\n\r\n",
    "a chunk size with an underscore": b"0_2\r\nhi\r\n0\r\n\r\n",
    "a space before a chunk size": b" 2\r\nhi\r\n0\r\n\r\n",
    "a space after a chunk size": b"2 \r\nhi\r\n0\r\n\r\n",
    "a chunk size that ends with LF": b"2\nhi\r\n0\r\n\r\n",
    "a chunk without its end": b"2\r\nhiho\r\n0\r\n\r\n",
    "a chunk that ends with LF": b"2\r\nhi\n0\r\n\r\n",
    "a chunk shorter than it says": b"5\r\nhi\r\n0\r\n\r\n",
    "an extension with a NUL": b"2;a=\0\r\nhi\r\n0\r\n\r\n",
    "an extension with a LF": b"2;a\nb\r\nhi\r\n0\r\n\r\n",
    "an endless chunk extension": b"2;" + b"a" * 70_000,
    "an endless chunk size": b"0" * 70_000,
    "a bad trailer": b"2\r\nhi\r\n0\r\nbad trailer\r\n\r\n",
    "a trailer with a NUL": b"2\r\nhi\r\n0\r\na: \0\r\n\r\n",
    "a trailer with a length": b"2\r\nhi\r\n0\r\ncontent-length: 9\r\n\r\n",
    "endless trailers": b"0\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    "a trailer without end": b"0\r\na: " + b"b" * 70_000,
}
BROKEN: Final = {**_HEADS, **_FRAMING, **{name: _HEAD + body for name, body in _CHUNKS.items()}}

CUT: Final = {
    "within its first word": b"HTT",
    "within its status": b"HTTP/1.1 20",
    "within its headers": b"HTTP/1.1 200 OK\r\ncontent-le",
    "after an informational response": b"HTTP/1.1 103 Hints\r\n\r\n",
    "before its body": _answer(b"content-length: 9", body=b""),
    "within its body": _answer(b"content-length: 9"),
    "before its chunks": _HEAD,
    "within a chunk's size": _HEAD + b"1",
    "within a chunk": _HEAD + b"5\r\nhi",
    "within a chunk of 2^63 bytes": _HEAD + b"8000000000000000\r\nhi",
    "within a chunk's end": _HEAD + b"2\r\nhi\r",
    "before its last chunk": _HEAD + b"2\r\nhi\r\n",
    "within its last chunk": _HEAD + b"2\r\nhi\r\n0\r\n",
    "within its trailers": _HEAD + b"2\r\nhi\r\n0\r\na: b\r\n",
}
