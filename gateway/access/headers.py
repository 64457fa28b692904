"""
The credential that a request carries.

Three forms are read: `Authorization: Bearer`, `x-api-key` and `api-key`. A request whose headers
disagree is refused rather than guessed about, since whatever stands in front may have read
another one.

Hot: three look-ups a request.
"""

from ..contract.errors import InvalidRequest
from ..contract.head import Head

_OTHERS = _X_API_KEY, _API_KEY = b"x-api-key", b"api-key"


def credential(head: Head) -> str | None:
    """
    The credential of a request, None without one.

    A scheme other than Bearer, or an empty value, is no credential.

    Raises:
        InvalidRequest: two different credentials, or two `Authorization` headers.
    """
    found = b""
    authorization = head.get(b"authorization")
    if authorization is not None:
        if len(authorization) > 1:
            raise _ambiguous()
        scheme, _, value = authorization[0].partition(b" ")
        if scheme.lower() == b"bearer":
            found = value.strip()
    if _X_API_KEY in head or _API_KEY in head:
        found = _agreed(head, found)
    return found.decode("latin-1") if found else None


def _agreed(head: Head, found: bytes) -> bytes:
    """What the other headers give, if it is what was found already."""
    for name in _OTHERS:
        for value in head.get(name, ()):
            given = value.strip()
            if found and given and given != found:
                raise _ambiguous()
            found = given or found
    return found


def _ambiguous() -> InvalidRequest:
    return InvalidRequest(
        "The request carries more than one credential.", code="ambiguous_credentials"
    )
