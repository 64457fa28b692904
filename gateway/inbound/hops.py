"""
How many gateways a request has come through already.

Each one sends `x-lockgate-hop` with one more than it got, so that a gateway whose upstream is
itself, or another that leads back, ends a request after a few rounds rather than never.

Hot: one look-up a request.
"""

from ..contract.errors import LoopDetected
from ..contract.head import Head

HEADER = b"x-lockgate-hop"
MAX_HOPS = 2
"""One gateway may stand before another, and that one before a third."""

_ALLOWED = {b"%d" % hops: hops for hops in range(MAX_HOPS + 1)}


def hops_of(head: Head) -> int:
    """
    The gateways before this one.

    Raises:
        LoopDetected: too many, or the header holds what no gateway writes.
    """
    told = head.get(HEADER)
    if told is None:
        return 0
    if len(told) > 1 or told[0] not in _ALLOWED:
        raise LoopDetected
    return _ALLOWED[told[0]]
