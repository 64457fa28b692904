"""
Request ids: ULIDs, which sort by time and are unique without asking anyone.

48 bits of milliseconds and 80 random bits in Crockford's base 32, 26 characters
(github.com/ulid/spec).

Hot: made once a request, two characters at a time.
"""

from os import urandom

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


def ulid(milliseconds: int, randomness: bytes | None = None) -> str:
    """A new id for that instant since 1970. `randomness` is 10 bytes, fresh ones if not given."""
    number = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(
        urandom(10) if randomness is None else randomness, "big"
    )
    return "".join([_PAIRS[number >> shift & 0x3FF] for shift in range(120, -1, -10)])
