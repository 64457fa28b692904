from random import Random

from gateway.access import Key, Pepper
from gateway.access.proven import Proven

KEY = Key.generate(Random(1)).reveal()
PROOF = ("a public id", b"a digest")


def test_what_a_text_came_to_is_remembered_to_the_letter() -> None:
    proven = Proven()
    proven.put(KEY, PROOF)

    assert proven.get(KEY) == PROOF
    for place in range(len(KEY)):
        assert proven.get(KEY[:place] + "~" + KEY[place + 1 :]) is None
    assert proven.get(KEY[:-1]) is None
    assert proven.get(KEY + " ") is None
    assert proven.get("") is None


def test_any_text_may_be_asked_for() -> None:
    assert Proven().get("".join(map(chr, range(256)))) is None


def test_the_first_are_forgotten_first() -> None:
    proven = Proven(most=3)
    for number in range(5):
        proven.put(str(number), PROOF)

    assert len(proven) == 3
    assert [proven.get(str(number)) is not None for number in range(5)] == [False] * 2 + [True] * 3


def test_what_was_verified_again_is_there_once() -> None:
    proven = Proven(most=2)
    for _ in range(3):
        proven.put(KEY, PROOF)

    assert len(proven) == 1


def test_neither_a_key_nor_what_verifies_one_elsewhere_is_kept() -> None:
    one, other = Proven(), Proven()
    key = Key.parse(KEY)
    assert key is not None
    for proven in (one, other):
        proven.put(KEY, (key.public_id, key.digest(Pepper(b"p"))))

    assert one._proofs.keys() != other._proofs.keys()
    assert KEY[16:48] not in str(one._proofs)
