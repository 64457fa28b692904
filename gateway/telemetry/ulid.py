"""
Request ids: ULIDs, which sort by time and are unique without asking anyone.

48 bits of milliseconds and 80 random bits in Crockford's base 32, 26 characters
(github.com/ulid/spec).

Hot: made once a request, two characters at a time.
"""

from secrets import randbits

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


def ulid(milliseconds: int, drawn: int | None = None) -> str:
    """A new id for that instant since 1970. `drawn` is 80 random bits, from the OS by default."""
    number = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | (randbits(80) if drawn is None else drawn)
    return "".join([_PAIRS[number >> shift & 0x3FF] for shift in range(120, -1, -10)])
