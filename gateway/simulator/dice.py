"""
Where everything made up comes from.

The same seed and the same words give the same bytes on every machine and in every process, so a
test can foretell an answer. Nothing here is fit for keeping a secret.
"""

from collections.abc import Iterator
from hashlib import shake_128
from itertools import count
from zlib import crc32


def digest(seed: int, words: str, *, index: int = 0, size: int) -> bytes:
    """`size` bytes that depend on nothing but the other three."""
    source = shake_128(b"%d/%d/" % (seed, index))
    source.update(words.encode("utf-8", "surrogatepass"))
    return source.digest(size)


class Walk:
    """
    A step for whatever was said so far, a byte each: whoever has heard the same words goes on in
    the same way, however often he paused.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, words: str, *, index: int = 0) -> None:
        self._state = crc32(
            words.encode("utf-8", "surrogatepass"), crc32(b"%d/%d/" % (seed, index))
        )

    def step(self) -> int:
        """Where it goes from here, 0 to 255."""
        return (self._state * 0x9E3779B1 >> 24) & 0xFF

    def hear(self, words: str) -> None:
        """More was said."""
        self._state = crc32(words.encode(), self._state)


def fractions(seed: int) -> Iterator[float]:
    """Numbers in [0, 1), without end, the same each time for one seed."""
    for number in count():
        drawn = shake_128(b"%d#%d" % (seed, number)).digest(8)
        yield (int.from_bytes(drawn) >> 11) / (1 << 53)
