"""
Request ids: ULIDs, which sort by time and are unique without asking anyone.

48 bits of milliseconds and 80 random bits in Crockford's base 32, 26 characters
(github.com/ulid/spec).

Hot: made once a request, two characters at a time and none in a loop: in halves of 40 bits, since
larger integers are slow.
"""

from secrets import randbits

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


def ulid(milliseconds: int, drawn: int | None = None) -> str:
    """A new id for that instant since 1970. `drawn` is 80 random bits, from the OS by default."""
    drawn = randbits(80) if drawn is None else drawn
    ms, high, low = milliseconds & 0xFFFF_FFFF_FFFF, drawn >> 40, drawn & 0xFF_FFFF_FFFF
    two = _PAIRS
    return (
        f"{two[ms >> 40]}{two[ms >> 30 & 0x3FF]}{two[ms >> 20 & 0x3FF]}{two[ms >> 10 & 0x3FF]}"
        f"{two[ms & 0x3FF]}"
        f"{two[high >> 30]}{two[high >> 20 & 0x3FF]}{two[high >> 10 & 0x3FF]}{two[high & 0x3FF]}"
        f"{two[low >> 30]}{two[low >> 20 & 0x3FF]}{two[low >> 10 & 0x3FF]}{two[low & 0x3FF]}"
    )
