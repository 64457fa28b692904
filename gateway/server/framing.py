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
from collections.abc import Sequence

from .refusals import BAD_CODING, BAD_HOST, BAD_TARGET, BAD_VERSION, HEAD_TOO_LARGE, Refusal

MAX_HEAD = 32 * 1024
"""Bytes of a request's target and headers, with four for what surrounds each of them."""
MAX_HEADERS = 100

Headers = Sequence[tuple[bytes, bytes]]

_HOST = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._~-]{1,32})?\])"
    rb"(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^#]*)", re.IGNORECASE)


def fault_of(version: str, target: bytes, headers: Headers) -> Refusal | None:
    """What is wrong with a request's head, None where nothing is. Names are in lower case."""
    if len(headers) > MAX_HEADERS:
        return HEAD_TOO_LARGE
    hosts = [value for name, value in headers if name == b"host"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if (codings or version != "1.1") and (told := _fault_of_coding(version, codings)) is not None:
        return told
    if not hosts and version == "1.0":
        hosts.append(b"")  # lawful then, and how load balancers ask for our health
    if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
        return BAD_HOST
    return _fault_of_target(target, hosts[0])


def size_of(target: bytes, headers: Headers) -> int:
    """Bytes of a head, as `MAX_HEAD` counts them."""
    return len(target) + 4 + sum([len(name) + len(value) + 4 for name, value in headers])


def without_lookalikes(headers: Headers) -> list[tuple[bytes, bytes]]:
    """
    Without names that hold an underscore: some servers read `X_Forwarded_For` as the header with
    hyphens, so a proxy that cleans the one lets the other pass.
    """
    return [header for header in headers if b"_" not in header[0]]


def _fault_of_coding(version: str, codings: Sequence[bytes]) -> Refusal | None:
    if version not in {"1.0", "1.1"}:
        return BAD_VERSION
    if not codings:
        return None
    is_plain = len(codings) == 1 and codings[0].strip(b" \t").lower() == b"chunked"
    return None if is_plain and version == "1.1" else BAD_CODING


def _fault_of_target(target: bytes, host: bytes) -> Refusal | None:
    if target[:1] == b"/":
        return BAD_TARGET if b"#" in target else None
    found = _ABSOLUTE.fullmatch(target)
    is_of_host = found is not None and found[1].lower() == host.lower()
    return None if is_of_host else BAD_TARGET
