"""Request ids sort by time, and no two are the same."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.ulid import ulid

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
instants = st.integers(0, (1 << 48) - 1)
randomness = st.binary(min_size=16, max_size=16)


def read(text: str) -> tuple[int, int]:
    """The instant and the randomness of an id, by the specification."""
    number = 0
    for digit in text:
        number = number * 32 + DIGITS.index(digit)
    return number >> 80, number & ((1 << 80) - 1)


@given(instants, randomness)
def test_an_id_holds_its_instant_and_its_randomness(instant: int, drawn: bytes) -> None:
    made = ulid(instant, drawn)

    assert len(made) == 26
    at, bits = read(made)
    assert at == instant
    assert [bits >> shift & 31 for shift in range(75, -1, -5)] == [byte & 31 for byte in drawn]


@given(instants, instants, randomness, randomness)
def test_ids_sort_as_their_instants_do(
    one: int, other: int, drawn: bytes, other_drawn: bytes
) -> None:
    earlier, later = (ulid(one, drawn), one), (ulid(other, other_drawn), other)

    if one != other:
        assert (earlier[0] < later[0]) == (one < other)


def test_the_examples_of_the_specification() -> None:
    assert ulid(1_469_918_176_385).startswith("01ARYZ6S41")
    assert ulid((1 << 48) - 1, bytes([255] * 16)) == "7" + "Z" * 25
    assert ulid(0, bytes(16)) == "0" * 26


def test_an_instant_beyond_the_last_one_wraps() -> None:
    assert ulid(1 << 48, bytes(16)) == "0" * 26


def test_ids_of_one_instant_are_all_different() -> None:
    made = {ulid(1_469_918_176_385) for _ in range(10_000)}

    assert len(made) == 10_000
    assert all(re.fullmatch("01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}", each) for each in made)
