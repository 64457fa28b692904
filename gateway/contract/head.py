"""
The headers of a request, gathered once: whoever asks for one looks it up.

What it means that a header is there twice is for each reader to say, since the answers differ:
one takes the first, another refuses the request.

Hot: one pass over the headers of every request.
"""

from collections.abc import Mapping, Sequence

Head = Mapping[bytes, Sequence[bytes]]
"""The values of each header in the order in which they came, by its name in lower case."""


def head_of(headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Those of raw ASGI headers."""
    head = {name: (value,) for name, value in headers}
    return head if len(head) == len(headers) else _gathered(headers)


def _gathered(headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Those of headers of which one is there twice."""
    head: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        head.setdefault(name, []).append(value)
    return head
