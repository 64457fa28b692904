"""
Requests that two readers could end at different bytes, or take for other hosts or lengths.

Every case carries a second request where a body would be, or after it: `HIDDEN` is its path, which
no server in the row may ever see. A case is a name and the bytes of one connection.
"""

HIDDEN = "/hidden"

_SECOND = f"GET {HIDDEN} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
_LENGTH = b"%d" % len(_SECOND)
_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_SECOND), _SECOND)


def _post(*headers: bytes, body: bytes = _SECOND, line: bytes = b"POST /seen HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *headers, b"", b""]) + body


def _with(*headers: bytes, body: bytes = _SECOND) -> bytes:
    return _post(b"Host: a", *headers, body=body)


def _line(line: bytes, *headers: bytes) -> bytes:
    return _post(*(headers or (b"Host: a",)), b"Content-Length: " + _LENGTH, line=line)


_CL = b"Content-Length: " + _LENGTH
_TE = b"Transfer-Encoding: chunked"

CASES: dict[str, bytes] = {
    # Two lengths, or a length and chunks
    "length-and-chunks": _with(_CL, _TE, body=b"0\r\n\r\n" + _SECOND),
    "chunks-and-length": _with(_TE, _CL, body=b"0\r\n\r\n" + _SECOND),
    "length-0-and-chunks": _with(b"Content-Length: 0", _TE, body=_CHUNK),
    "two-lengths": _with(_CL, b"Content-Length: 0"),
    "two-lengths-the-other-way": _with(b"Content-Length: 0", _CL),
    "two-equal-lengths": _with(_CL, _CL),
    "a-list-of-lengths": _with(b"Content-Length: %b, %b" % (_LENGTH, _LENGTH)),
    "a-list-of-two-lengths": _with(b"Content-Length: 0, %b" % _LENGTH),
    # Lengths that are none
    "plus": _with(b"Content-Length: +" + _LENGTH),
    "minus": _with(b"Content-Length: -1"),
    "hexadecimal": _with(b"Content-Length: 0x2d"),
    "underscore": _with(b"Content-Length: 4_5"),
    "point": _with(b"Content-Length: 45.0"),
    "exponent": _with(b"Content-Length: 4e1"),
    "a-blank-inside": _with(b"Content-Length: 4 5"),
    "empty": _with(b"Content-Length:"),
    "a-word": _with(b"Content-Length: many"),
    "two-to-64": _with(b"Content-Length: 18446744073709551616"),
    "two-to-64-and-45": _with(b"Content-Length: 18446744073709551661"),
    "arabic-digits": _with("Content-Length: \u0664\u0665".encode()),
    # Transfer codings
    "xchunked": _with(b"Transfer-Encoding: xchunked", body=_CHUNK),
    "chunkedx": _with(b"Transfer-Encoding: chunkedx", body=_CHUNK),
    "identity": _with(b"Transfer-Encoding: identity", _CL),
    "chunked-identity": _with(b"Transfer-Encoding: chunked, identity", body=_CHUNK),
    "identity-chunked": _with(b"Transfer-Encoding: identity, chunked", body=_CHUNK),
    "gzip-chunked": _with(b"Transfer-Encoding: gzip, chunked", body=_CHUNK),
    "gzip": _with(b"Transfer-Encoding: gzip", body=_CHUNK),
    "chunked-twice": _with(b"Transfer-Encoding: chunked, chunked", body=_CHUNK),
    "two-codings": _with(_TE, _TE, body=_CHUNK),
    "two-codings-that-differ": _with(_TE, b"Transfer-Encoding: identity", body=_CHUNK),
    "quoted": _with(b'Transfer-Encoding: "chunked"', body=_CHUNK),
    "a-parameter": _with(b"Transfer-Encoding: chunked;q=1", body=_CHUNK),
    "vertical-tab": _with(b"Transfer-Encoding:\x0bchunked", body=_CHUNK),
    "no-coding": _with(b"Transfer-Encoding:", body=_CHUNK),
    "blank-before-the-colon": _with(b"Transfer-Encoding : chunked", body=_CHUNK),
    "chunks-in-1.0": _post(b"Host: a", _TE, line=b"POST /seen HTTP/1.0", body=_CHUNK),
    "chunks-and-length-in-1.0": _post(
        b"Host: a", _TE, _CL, line=b"POST /seen HTTP/1.0", body=_CHUNK
    ),
    # Chunks
    "size-with-plus": _with(_TE, body=b"+0\r\n\r\n" + _SECOND),
    "size-with-0x": _with(_TE, body=b"0x0\r\n\r\n" + _SECOND),
    "size-with-underscore": _with(_TE, body=b"0_0\r\n\r\n" + _SECOND),
    "size-with-minus": _with(_TE, body=b"-1\r\n\r\n" + _SECOND),
    "size-is-empty": _with(_TE, body=b"\r\n\r\n" + _SECOND),
    "size-of-65-bits": _with(_TE, body=b"10000000000000000\r\n\r\n" + _SECOND),
    "size-before-a-bare-line-feed": _with(_TE, body=b"0\n\r\n" + _SECOND),
    "size-before-a-bare-return": _with(_TE, body=b"0\r\r\n" + _SECOND),
    "line-feed-in-an-extension": _with(_TE, body=b"0;a\nb\r\n\r\n" + _SECOND),
    "chunk-that-is-longer": _with(_TE, body=b"1\r\nab\r\n0\r\n\r\n" + _SECOND),
    "chunk-without-its-end": _with(_TE, body=b"1\r\na0\r\n\r\n" + _SECOND),
    "chunk-before-a-bare-line-feed": _with(_TE, body=b"1\r\na\n0\r\n\r\n" + _SECOND),
    # Lines
    "folded": _with(b"X: a", b" Content-Length: 0", _CL),
    "folded-coding": _with(b"Transfer-Encoding:", b" chunked", body=_CHUNK),
    "folded-first": _post(b" Host: a", _CL),
    "bare-line-feeds": _with(_CL).replace(b"\r\n", b"\n"),
    "one-bare-line-feed": _with(b"X: a\nContent-Length: 0", _CL),
    "one-bare-return": _with(b"X: a\rContent-Length: 0", _CL),
    "returns-only": _with(_CL).replace(b"\r\n", b"\r"),
    "nul-in-a-value": _with(b"X: a\0b", _CL),
    "nul-in-a-name": _with(b"X\0: a", _CL),
    "control-in-a-value": _with(b"X: a\x01b", _CL),
    "delete-in-a-value": _with(b"X: a\x7fb", _CL),
    "no-name": _with(b": a", _CL),
    "no-colon": _with(b"Content-Length", _CL),
    "blank-before-a-colon": _with(b"Content-Length : 0", _CL),
    "tab-before-a-colon": _with(b"Content-Length\t: 0", _CL),
    "letter-beyond-ascii-in-a-name": _with("Content-L\u00e9ngth: 0".encode(), _CL),
    # Host
    "no-host": _post(_CL),
    "two-hosts": _post(b"Host: a", b"Host: b", _CL),
    "two-equal-hosts": _post(b"Host: a", b"Host: a", _CL),
    "a-list-of-hosts": _post(b"Host: a, b", _CL),
    "host-with-a-path": _post(b"Host: a/b", _CL),
    "host-with-a-user": _post(b"Host: b@a", _CL),
    "host-with-a-blank": _post(b"Host: a b", _CL),
    "host-with-a-port-that-is-none": _post(b"Host: a:b", _CL),
    # Target
    "another-authority": _line(b"POST http://b/seen HTTP/1.1"),
    "another-port": _line(b"POST http://a:8080/seen HTTP/1.1"),
    "a-user": _line(b"POST http://u@a/seen HTTP/1.1"),
    "another-scheme": _line(b"POST file://a/seen HTTP/1.1"),
    "no-path": _line(b"POST http://a HTTP/1.1"),
    "an-asterisk": _line(b"OPTIONS * HTTP/1.1"),
    "a-tunnel": _line(b"CONNECT a:443 HTTP/1.1"),
    "a-fragment": _line(b"POST /seen#x HTTP/1.1"),
    "no-slash": _line(b"POST seen HTTP/1.1"),
    "letters-beyond-ascii": _line("POST /s\u00e9en HTTP/1.1".encode()),
    "nul-in-the-target": _line(b"POST /seen\0 HTTP/1.1"),
    "tab-in-the-line": _line(b"POST\t/seen HTTP/1.1"),
    "two-targets": _line(b"POST /seen /b HTTP/1.1"),
    "blank-before-the-method": _line(b" POST /seen HTTP/1.1"),
    # Version
    "0.9": b"POST /seen\r\n\r\n" + _SECOND,
    "1.2": _line(b"POST /seen HTTP/1.2"),
    "2.0": _line(b"POST /seen HTTP/2.0"),
    "preface-of-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SECOND,
    "no-version": _line(b"POST /seen HTTP/"),
    "lower-case": _line(b"POST /seen http/1.1"),
    "no-method": _line(b"SEEN /seen HTTP/1.1"),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + _SECOND,
    # Amounts
    "101-headers": _with(*[b"X: a"] * 99, _CL),
    "2000-headers": _with(*[b"X: a"] * 1998, _CL),
    "33-kb-of-a-header": _with(b"X: " + b"a" * 33 * 1024, _CL),
    "70-kb-of-headers": _with(*[b"X: " + b"a" * 1024] * 70, _CL),
    "33-kb-of-a-target": _line(b"POST /" + b"a" * 33 * 1024 + b" HTTP/1.1"),
}
