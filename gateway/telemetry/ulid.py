"""
Request ids: ULIDs, which sort by time and are unique without asking anyone.

48 bits of milliseconds and 80 random bits in Crockford's base 32, 26 characters
(github.com/ulid/spec).

Hot: made once a request. A random digit is made of a random byte, which costs a fifth of taking it
out of a large number, and most of the digits of the time are those of the id before.
"""

from functools import lru_cache
from secrets import token_bytes

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_DIGIT_OF = bytes(ord(_DIGITS[byte % 32]) for byte in range(256))


def ulid(milliseconds: int, drawn: bytes | None = None) -> str:
    """
    A new id for that instant since 1970. `drawn` is 16 random bytes, from the OS by default, each
    of which gives its lower five bits.
    """
    drawn = token_bytes(16) if drawn is None else drawn
    late = _PAIRS[milliseconds & 0x3FF]
    return f"{_second(milliseconds >> 10)}{late}{drawn.translate(_DIGIT_OF).decode()}"


@lru_cache(maxsize=1)
def _second(number: int) -> str:
    """The first eight digits, which stay the same for a second (of 1,024 milliseconds)."""
    two, number = _PAIRS, number & 0x3F_FFFF_FFFF
    high, low = number >> 20, number & 0xF_FFFF
    return f"{two[high >> 10]}{two[high & 0x3FF]}{two[low >> 10]}{two[low & 0x3FF]}"
