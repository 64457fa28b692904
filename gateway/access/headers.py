"""
The credential that a request carries.

Three forms are read: `Authorization: Bearer`, `x-api-key` and `api-key`. A request whose headers
disagree is refused rather than guessed about, since whatever stands in front may have read
another one.

Hot: one pass over the raw headers of every request.
"""

from collections.abc import Iterable

from ..contract.errors import InvalidRequest

_FORMS = frozenset((b"authorization", b"x-api-key", b"api-key"))
_BEARER = b"bearer "


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """
    The credential in raw ASGI headers (names in lower case), None without one.

    A scheme other than Bearer, or an empty value, is no credential.

    Raises:
        InvalidRequest: two different credentials, or two `Authorization` headers.
    """
    found = None
    authorized = False
    for name, value in headers:
        if name not in _FORMS:
            continue
        if name == b"authorization":
            if authorized:
                raise _ambiguous()
            authorized = True
            value = value[7:] if value[:7].lower() == _BEARER else b""  # noqa: PLW2901 - a copy a request
        given = value.strip()
        if found and given and given != found:
            raise _ambiguous()
        found = given or found
    return found.decode("latin-1") if found else None


def _ambiguous() -> InvalidRequest:
    return InvalidRequest(
        "The request carries more than one credential.", code="ambiguous_credentials"
    )
