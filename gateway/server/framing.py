"""
Where two lawful readers of a request could disagree, and httptools takes either reading.

Smuggling needs a proxy that ends a request at one byte and a server that ends it at another, or
two that read another host or length. More is asked for than the standard does: whatever is open
to a second reading is refused, and its connection closed. What httptools refuses by itself (two
lengths, a length and chunks, folded lines, bare line feeds, signs, NUL) is tried in the tests of
this module with the rest.

Hot: `fault_of` runs once a request, over headers that are parsed already.
"""

import re

from .refusals import BAD_CODING, BAD_HOST, BAD_TARGET, BAD_VERSION, HEAD_TOO_LARGE, Refusal

MAX_HEAD = 32 * 1024
"""Bytes of a request's target and headers, with four for what surrounds each of them."""
MAX_HEADERS = 100

Headers = list[tuple[bytes, bytes]]

_UNDERSCORE, _HASH = b"_#"  # as numbers they are found three times as fast
_HOST = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._~-]{1,32})?\])"
    rb"(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^#]*)", re.IGNORECASE)


def fault_of(
    version: str, target: bytes, headers: Headers, named: dict[bytes, bytes]
) -> Refusal | None:
    """
    What is wrong with a request's head, None where nothing is. Names are in lower case; `named`
    are the headers by name, of each the last.

    Headers whose names hold an underscore are taken out: some servers read `X_Forwarded_For` as
    the header with hyphens, so a proxy that cleans the one lets the other pass.
    """
    if len(headers) > MAX_HEADERS:
        return HEAD_TOO_LARGE
    if _UNDERSCORE in b"".join(named):
        headers[:] = [header for header in headers if _UNDERSCORE not in header[0]]
        named = dict(headers)
    if version != "1.1" or b"transfer-encoding" in named:
        coding = _fault_of_coding(version, headers)
        if coding is not None:
            return coding
    host = named.get(b"host")
    if host is None:
        # An older client need not name its host: load balancers ask for our health like that.
        return BAD_HOST if version == "1.1" else _fault_of_address(target, b"")
    if len(named) < len(headers) and [name for name, _ in headers].count(b"host") > 1:
        return BAD_HOST
    return _fault_of_address(target, host.rstrip(b" \t"))


def size_of(target: bytes, headers: Headers) -> int:
    """Bytes of a head, as `MAX_HEAD` counts them."""
    return len(target) + 4 + sum([len(name) + len(value) + 4 for name, value in headers])


def origin_form(target: bytes) -> bytes:
    """A target without fault, but for the scheme and host that it may name."""
    return target if target[:1] == b"/" else target[target.index(b"/", len("https://")) :]


def _fault_of_coding(version: str, headers: Headers) -> Refusal | None:
    if version not in {"1.0", "1.1"}:
        return BAD_VERSION
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if not codings:
        return None
    is_plain = len(codings) == 1 and codings[0].rstrip(b" \t").lower() == b"chunked"
    return None if is_plain and version == "1.1" else BAD_CODING


def _fault_of_address(target: bytes, host: bytes) -> Refusal | None:
    if _HOST.fullmatch(host) is None:
        return BAD_HOST
    if target[:1] == b"/" and _HASH not in target:
        return None
    found = _ABSOLUTE.fullmatch(target)
    is_of_host = found is not None and found[1].lower() == host.lower()
    return None if is_of_host else BAD_TARGET
