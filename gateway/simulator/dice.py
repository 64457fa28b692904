"""
Where everything made up comes from.

The same seed and the same words give the same bytes on every machine and in every process, so a
test can foretell an answer. Nothing here is fit for keeping a secret.
"""

from collections.abc import Iterator
from hashlib import shake_128
from itertools import count


def digest(seed: int, words: str, *, index: int = 0, size: int) -> bytes:
    """`size` bytes that depend on nothing but the other three."""
    source = shake_128(b"%d/%d/" % (seed, index))
    source.update(words.encode("utf-8", "surrogatepass"))
    return source.digest(size)


def fractions(seed: int) -> Iterator[float]:
    """Numbers in [0, 1), without end, the same each time for one seed."""
    for number in count():
        drawn = shake_128(b"%d#%d" % (seed, number)).digest(8)
        yield (int.from_bytes(drawn) >> 11) / (1 << 53)
