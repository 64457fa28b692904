"""
The headers of a request, gathered once: whoever asks for one looks it up.

What it means that a header is there twice is for each reader to say, since the answers differ:
one takes the first, another refuses the request.

Hot: one pass over the headers of every request.
"""

from collections.abc import Iterable, Mapping, Sequence

Head = Mapping[bytes, Sequence[bytes]]
"""The values of each header in the order in which they came, by its name in lower case."""


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Those of raw ASGI headers."""
    head: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in headers:
        head[name] = (*head[name], value) if name in head else (value,)
    return head
