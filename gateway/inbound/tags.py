"""
Tags: what a caller says of a request for its own accounting, in `x-lockgate-tags`.

    x-lockgate-tags: team=search, environment=staging

They are kept with the request's ledger row, which usage can be grouped by, and go nowhere else:
neither upstream nor into a metric's label. A header that can't be kept whole is refused rather
than kept in part, since a bill that lacks a tag is found out too late.

Hot: one look-up a request; the rest only where the header is there.
"""

import re
from collections.abc import Mapping

from ..contract.errors import InvalidRequest
from ..contract.head import Head

MAX_HEADER = 1024
"""Bytes of the header."""
MAX_TAGS = 10

HEADER = b"x-lockgate-tags"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./:@+-]{0,63}")
_NONE: Mapping[str, str] = {}


def tags_of(head: Head) -> Mapping[str, str]:
    """
    The tags of a request, by name.

    Raises:
        InvalidRequest: the header is there twice or too long, has too many tags or one name twice,
            or a name or a value that is none.
    """
    given = head.get(HEADER)
    if given is None:
        return _NONE
    if len(given) > 1:
        raise _refused("is there twice")
    return _parsed(given[0])


def _parsed(given: bytes) -> Mapping[str, str]:
    if len(given) > MAX_HEADER:
        raise _refused(f"is longer than {MAX_HEADER} bytes")
    tags: dict[str, str] = {}
    for part in given.decode("latin-1").split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise _refused(
                "must be like team=search, env=prod: names of up to 32 lower-case letters, digits, "
                "`_`, `.` and `-`; values of up to 64 letters, digits, spaces and `_./:@+-`"
            )
        if name in tags:
            raise _refused("names a tag twice")
        tags[name] = value
    if len(tags) > MAX_TAGS:
        raise _refused(f"has more than {MAX_TAGS} tags")
    return tags


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The header {HEADER.decode()} {reason}.", param=HEADER.decode(), code="invalid_tags"
    )
