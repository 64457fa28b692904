"""
How inputs are cut and changed: what the targets and the generators of inputs share.

An input is bytes and nothing else, so that whatever finds one (hypothesis, atheris, a file) can
hand it to any target.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

SALT = 2
"""Bytes at the beginning of an input that say where the rest is cut."""
MOST_CUTS = 8


class Edit(NamedTuple):
    """At a place, counted round, so many bytes give way to others."""

    at: int
    gone: int
    new: bytes


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The rest of an input behind its salt, whole and in pieces of which none is empty."""
    salt, rest = data[:SALT], data[SALT:]
    return rest, list(_pieces(rest, Random(salt)))


def _pieces(rest: bytes, chance: Random) -> Iterator[bytes]:
    places = sorted(chance.randrange(len(rest) + 1) for _ in range(chance.randrange(MOST_CUTS)))
    begin = 0
    for end in (*places, len(rest)):
        if end > begin:
            yield rest[begin:end]
        begin = end


def changed(data: bytes, edits: list[Edit]) -> bytes:
    """The same with all those edits, one after the other."""
    for each in edits:
        at = each.at % (len(data) + 1)
        data = data[:at] + each.new + data[at + each.gone :]
    return data


def salted(*inputs: bytes) -> tuple[bytes, ...]:
    """Seeds for targets that cut: each in one piece and in several."""
    return tuple(salt + each for each in inputs for salt in (b"\0\0", b"\x07\x2a"))
