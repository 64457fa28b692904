"""
Optimistic concurrency: a change says which version it is meant for.

`Match` is the set of versions that a change accepts, `ANY` whichever there is.
"""

import re

from ..contract.errors import InvalidRequest
from .errors import VersionMismatch, VersionRequired

Match = frozenset[int] | None
ANY: Match = None
MAX_IF_MATCH = 200
"""Characters of the header."""

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')


def check_version(match: Match, version: int) -> None:
    """
    Raises:
        VersionMismatch: the object is of another version.
    """
    if match is not None and version not in match:
        raise VersionMismatch


def read_if_match(header: str | None) -> Match:
    """
    The versions that a request's If-Match names (RFC 9110, 13.1.1). A weak tag matches nothing.

    Raises:
        VersionRequired: there is no such header.
        InvalidRequest: it is malformed.
    """
    if header is None:
        raise VersionRequired
    if header.strip() == "*":
        return ANY
    tags = [_TAG.fullmatch(part.strip()) for part in header.split(",")]
    if not all(tags):
        raise InvalidRequest("If-Match is a list of ETags, or *.", param="if-match")
    strong = {tag[2] for tag in tags if tag and not tag[1]}
    return frozenset(int(text) for text in strong if text.isascii() and text.isdigit())


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'
