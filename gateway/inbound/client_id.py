"""
The client's own id for a request, which is recorded and told again.

Hot: two look-ups a request.
"""

import re

from ..contract.head import Head

_OWN = b"x-client-request-id"
_OTHER = b"x-request-id"
_HARMLESS = re.compile(rb"[A-Za-z0-9_-]{1,64}")


def client_id_of(head: Head) -> str:
    """The first harmless one in the header that is for it, else the last in the other, else ""."""
    if _OWN not in head and _OTHER not in head:
        return ""
    for value in head.get(_OWN, ()):
        if _HARMLESS.fullmatch(value):
            return value.decode()
    for value in reversed(head.get(_OTHER, ())):
        if _HARMLESS.fullmatch(value):
            return value.decode()
    return ""
